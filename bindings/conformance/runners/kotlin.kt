// Carries out the commands of the conformance suite with the Kotlin package: sessions, exceptions, interrupts.

package conformance

import blindbox.attestation.*
import java.nio.file.Files
import java.nio.file.Path
import java.time.Duration
import java.time.Instant
import java.util.HexFormat
import kotlin.concurrent.thread

private var session: Session? = null

private class Command(private val fields: Map<String, String>) {
    fun text(name: String): String = fields.getValue(name)
    fun words(name: String): List<String> = text(name).split(" ").filter(String::isNotEmpty)
    fun <T> given(name: String, use: (String) -> T): T? = fields[name]?.let(use)
    fun bytes(name: String): ByteArray? = given(name) { Files.readAllBytes(Path.of(it)) }

    fun policy() = Policy(bytes("policy")!!.decodeToString())
    fun verifier(): Verifier = Verifier.builder().apply {
        given("application_roots") { applicationRoots(Path.of(it)) }
        given("collateral_roots") { collateralRoots(Path.of(it)) }
        given("amd_roots") { amdRoots(Path.of(it)) }
        given("ak_root") { akRoot(Path.of(it)) }
        given("kds", ::kds)
        given("deadline_ms") { deadline(Duration.ofMillis(it.toLong())) }
        given("request_timeout_ms") { requestTimeout(Duration.ofMillis(it.toLong())) }
    }.build()
}

fun main() {
    for (line in generateSequence(::readlnOrNull)) {
        val command = Command(line.split("\t").associate { it.substringBefore("=") to it.substringAfter("=") })
        val outcome = try {
            carriedOut(command)
        } catch (error: AttestationException) {
            described(error)
        }
        println(outcome.entries.joinToString("\t") { (name, value) -> "$name=${Json.write(value)}" })
    }
}

private fun carriedOut(command: Command): Map<String, Any?> = when (command.text("do")) {
    "connect" -> command.policy().let { policy ->
        session = command.verifier().connect(command.text("url"), policy)
        attested(session!!.attestation)
    }
    "reattest" -> attested(session!!.reattest())
    "request" -> command.given("cancel_ms") { cancelled(command, it.toLong()) } ?: requested(command)
    "start" -> emptyMap<String, Any?>().also { session!!.sendAsync(request(command)) }
    "recorded" -> recorded(command)
    "policy" -> mapOf("digest" to command.policy().digest)
    else -> emptyMap<String, Any?>().also { session!!.close() }
}

private fun request(command: Command): Request {
    val request = Request(command.text("method"), command.text("target"))
    command.given("header") { request.header(it, command.bytes("value")!!) }
    val streamed = command.given("streamed") { Files.newInputStream(Path.of(command.text("body"))) }
    if (streamed != null) request.body(streamed) else command.bytes("body")?.let { request.body(it) }
    command.given("idempotent") { request.idempotent() }
    return request
}

private fun requested(command: Command): Map<String, Any?> = session!!.send(request(command)).use { response ->
    val outcome = linkedMapOf<String, Any?>("status" to response.status)
    for (name in command.words("show")) outcome[name] = hex(response.headers[name].orEmpty().toByteArray(Charsets.ISO_8859_1))
    try {
        outcome + ("content" to hex(response.body.readAllBytes()))
    } catch (error: AttestationException) {
        outcome + described(error)
    }
}

/** Interrupts this thread in its request: the error is `Cancelled`. */
private fun cancelled(command: Command, after: Long): Map<String, Any?> {
    val requests = Thread.currentThread()
    thread(isDaemon = true) {
        Thread.sleep(after)
        requests.interrupt()
    }
    try {
        return requested(command)
    } finally {
        Thread.interrupted()
    }
}

private fun recorded(command: Command): Map<String, Any?> {
    val documents = command.words("documents").associateWith { Files.readAllBytes(Path.of(it)) }
    val (amdRoots, akRoot) = listOf("amd_roots", "ak_root").map { command.bytes(it)?.decodeToString() }
    val at = Instant.ofEpochSecond(command.text("at").toLong())
    return attested(verifyRecorded(Recording(documents, at, command.bytes("key_set"), amdRoots, akRoot), command.policy()))
}

private fun hex(bytes: ByteArray) = HexFormat.of().formatHex(bytes)

private fun attested(attestation: Attestation) = mapOf("attestation" to Json.parse(attestation.toJson()))

private fun checks(appraisal: List<Check>?) = appraisal?.map {
    val check = linkedMapOf("name" to it.name, "verdict" to it.verdict, "expected" to it.expected, "actual" to it.actual)
    it.why?.let { why -> check["why"] = why }
    check
}

private fun described(error: AttestationException): Map<String, Any?> {
    // A handler for the category also gets it.
    check(error.javaClass.superclass.simpleName.lowercase() == error.category || error.javaClass.simpleName.lowercase() == error.category)
    return mapOf(
        "code" to error.code,
        "number" to error.number,
        "category" to error.category,
        "name" to error.javaClass.simpleName,
        "retryable" to error.retryable,
        "request_sent" to error.requestSent,
        "message" to error.message,
        "checks" to checks(error.appraisal),
    )
}
