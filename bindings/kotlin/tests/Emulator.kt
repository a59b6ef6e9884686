package tests

import blindbox.attestation.*
import java.io.BufferedReader
import java.nio.file.Files
import java.nio.file.Path
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread

/** `blindbox-attest emulate` for tests: a BlindBox, an MAA and an AMD on loopback, with real signatures. */
class Emulator(vararg options: String) : AutoCloseable {
    private val directory: Path = Files.createTempDirectory("blindbox-")

    // It ends when its standard input does, so it cannot outlive the tests.
    private val process = ProcessBuilder(BINARY, "emulate", "--out", directory.toString(), *options)
        .redirectError(ProcessBuilder.Redirect.INHERIT)
        .start()
    private val orders = process.outputWriter()
    private val lines: BufferedReader = process.inputReader()
    private val about = Json.parse(lines.readLine() ?: error("the emulator did not start")) as Map<*, *>

    val url = about["url"] as String
    val hostData = about["host_data"] as String?
    val policy = Policy.fromFile(file("policy.toml"))

    fun file(name: String): Path = directory.resolve(name)

    fun settings(): Verifier.Builder = Verifier.builder().apply {
        applicationRoots(file("application-root.pem"))
        collateralRoots(file("collateral-root.pem"))
        if (Files.exists(file("amd-roots.pem"))) {
            amdRoots(file("amd-roots.pem"))
            kds((about["kds"] as Map<*, *>)["url"] as String)
        }
    }

    fun connect(): Session = settings().build().connect(url, policy)

    @Synchronized
    fun order(text: String): Map<*, *> {
        orders.write("$text\n")
        orders.flush()
        val outcome = Json.parse(lines.readLine()) as Map<*, *>
        check(outcome["ok"] == true) { "$text: $outcome" }
        return outcome
    }

    fun traffic(of: String): Long = order("traffic")[of] as Long

    override fun close() {
        orders.close()
        if (!process.waitFor(60, TimeUnit.SECONDS)) process.destroyForcibly()
        directory.toFile().deleteRecursively()
    }

    companion object {
        private val BINARY = System.getProperty("blindbox.attest")

        init {
            // A test that waits for an event that never comes fails, and does not hang.
            thread(isDaemon = true) {
                Thread.sleep(1_800_000)
                System.err.println("the tests took more than thirty minutes")
                Runtime.getRuntime().halt(1)
            }
        }
    }
}

/** The exception of a kind that work ends with. */
inline fun <reified T : Throwable> thrown(work: () -> Any?): T {
    try {
        work()
    } catch (found: Throwable) {
        if (found is T) return found
        throw AssertionError("expected ${T::class.simpleName}, found $found", found)
    }
    throw AssertionError("expected ${T::class.simpleName}")
}

/** Waits for a condition that other threads bring about; only a hang reaches the limit. */
fun until(what: String, condition: () -> Boolean) {
    val limit = System.nanoTime() + 60_000_000_000
    while (!condition()) {
        check(System.nanoTime() < limit) { "waited a minute for $what" }
        Thread.sleep(5)
    }
}
