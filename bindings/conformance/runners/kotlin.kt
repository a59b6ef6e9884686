// Carries out the commands of the conformance suite with the Kotlin package: sessions, exceptions.

package conformance

import blindbox.attestation.*
import java.nio.file.Files
import java.nio.file.Path
import java.time.Duration
import java.time.Instant
import java.util.HexFormat
import kotlin.concurrent.thread

private var session: Session? = null

private class Command(private val fields: Map<*, *>) {
    fun text(name: String): String = fields[name] as String
    fun found(name: String): String? = fields[name] as String?
    fun number(name: String): Long? = fields[name] as Long?
    fun flag(name: String): Boolean = fields[name] == true
    fun path(name: String): Path? = found(name)?.let(Path::of)

    fun policy() = Policy(text("policy"))
    fun verifier(): Verifier = Verifier.builder().apply {
        path("application_roots")?.let(::applicationRoots)
        path("collateral_roots")?.let(::collateralRoots)
        path("amd_roots")?.let(::amdRoots)
        path("ak_root")?.let(::akRoot)
        found("kds")?.let(::kds)
        number("deadline_ms")?.let { deadline(Duration.ofMillis(it)) }
        number("request_timeout_ms")?.let { requestTimeout(Duration.ofMillis(it)) }
    }.build()
}

fun main() {
    while (true) {
        val command = Command(Json.parse(readlnOrNull() ?: break) as Map<*, *>)
        val outcome = try {
            carriedOut(command)
        } catch (error: AttestationException) {
            mapOf("error" to described(error))
        }
        println(Json.write(outcome))
    }
}

private fun carriedOut(command: Command): Map<String, Any?> = when (command.text("do")) {
    "connect" -> command.policy().let { policy ->
        session = command.verifier().connect(command.text("url"), policy)
        attested(session!!.attestation)
    }
    "reattest" -> attested(session!!.reattest())
    "request" -> command.number("cancel_ms")?.let { cancelled(command, it) } ?: requested(command)
    "start" -> emptyMap<String, Any?>().also { session!!.sendAsync(request(command)) }
    "recorded" -> recorded(command)
    "policy" -> mapOf("digest" to command.policy().digest)
    else -> emptyMap<String, Any?>().also { session?.close() }.also { session = null }
}

private fun request(command: Command): Request {
    val request = Request(command.text("method"), command.text("target"))
    command.found("header")?.let { request.header(it, HexFormat.of().parseHex(command.text("value"))) }
    command.path("body")?.let(Files::readAllBytes)?.let { body ->
        if (command.flag("streamed")) request.body(body.inputStream()) else request.body(body)
    }
    return request
}

private fun requested(command: Command): Map<String, Any?> = session!!.send(request(command)).use { response ->
    val outcome = linkedMapOf<String, Any?>("status" to response.status)
    for (name in command.found("show").orEmpty().split(" ").filter(String::isNotEmpty)) {
        outcome[name] = response.headers[name]?.let { HexFormat.of().formatHex(it.toByteArray(Charsets.ISO_8859_1)) }
    }
    try {
        outcome["content"] = HexFormat.of().formatHex(response.body.readAllBytes())
    } catch (error: AttestationException) {
        if (error is Cancelled) throw error
        outcome["error"] = described(error)
    }
    outcome
}

/** Interrupts this thread in its request. */
private fun cancelled(command: Command, after: Long): Map<String, Any?> {
    val requests = Thread.currentThread()
    var at = 0L
    val canceller = thread(isDaemon = true) {
        Thread.sleep(after)
        at = System.nanoTime()
        requests.interrupt()
    }
    val found = try {
        requested(command)
    } catch (_: Cancelled) {
        null
    }
    val ended = System.nanoTime()
    Thread.interrupted()
    if (found != null) return found
    canceller.join()
    return mapOf("cancelled" to true, "milliseconds" to (ended - at) / 1_000_000)
}

private fun recorded(command: Command): Map<String, Any?> {
    val policy = command.policy()
    var keySet = command.path("key_set")?.let(Files::readAllBytes)
    var at = command.number("at")?.let(Instant::ofEpochSecond)
    val documents = command.found("directory")?.let { directory ->
        java.io.File(directory).listFiles()!!.associate { it.name to it.readBytes() }
    } ?: command.verifier().collect(command.text("url"), policy).let { evidence ->
        at = evidence.askedAt
        keySet = evidence.documents["key-set.json"].takeUnless { command.flag("beside") }
        evidence.documents
    }
    val (amdRoots, akRoot) = listOf("amd_roots", "ak_root").map { command.path(it)?.let(Files::readString) }
    val recording = Recording(documents, at!!.plusSeconds(command.number("later") ?: 0), keySet, amdRoots, akRoot)
    return attested(verifyRecorded(recording, policy))
}

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
