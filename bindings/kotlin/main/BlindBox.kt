/**
 * Client-side attestation of a BlindBox: an application in an AMD SEV-SNP confidential container or VM on Azure. In Java, the functions
 * are static methods of the class `BlindBox`.
 */
@file:JvmName("BlindBox")

package blindbox.attestation

import blindbox.attestation.ffi.Outcome
import blindbox.attestation.ffi.codes as nativeCodes
import blindbox.attestation.ffi.logLevel
import blindbox.attestation.ffi.logNext
import java.io.IOException
import java.nio.file.Path
import java.util.concurrent.CompletableFuture
import java.util.function.Consumer

private val shared by lazy { Verifier() }

/** The version of the package and of its native part. */
public val version: String
    get() = VERSION

/**
 * Attests the peer behind a URL and opens a session with it, before any application data is sent. Every failure is an
 * [AttestationException]. A [Verifier] has settings.
 */
@Throws(AttestationException::class)
public fun verifyConnection(url: String, policy: Policy): Session = shared.connect(url, policy)

/** The same without blocking. Cancelling the future ends the attestation. */
public fun verifyConnectionAsync(url: String, policy: Policy): CompletableFuture<Session> = shared.connectAsync(url, policy)

/** Verifies recorded evidence and appraises it against a policy. The result proves neither freshness nor whose connection it was. */
@Throws(AttestationException::class)
public fun verifyRecorded(recording: Recording, policy: Policy): Attestation = recording.verify(policy)

/** Returns what the bytes of a file of evidence are, for display. What they say is not verified. */
@Throws(AttestationException::class)
public fun inspect(content: ByteArray): List<Map<String, Any?>> = inspected(content)

/** Returns what a file of evidence is, for display. What it says is not verified. */
@Throws(IOException::class)
public fun inspect(file: Path): List<Map<String, Any?>> = inspected(readFile(file))

/** The frozen facts about one kind of error. */
public class ErrorCode internal constructor(
    /** The code, such as `debug-mode`. */
    public val code: String,
    /** The number, such as 101. */
    public val number: Int,
    /** `rejected`, `untrusted`, `unavailable`, `misconfigured` or `internal`. */
    public val category: String,
    /** Whether the same call may succeed later without any change of settings or deployment. */
    public val retryable: Boolean,
    /** The name of the exception class, such as `DebugMode`. */
    public val name: String,
) {
    override fun toString(): String = "$code ($number)"
}

/** Returns all kinds of errors in the order of their numbers. */
public fun codes(): List<ErrorCode> = native {
    nativeCodes().map { ErrorCode(it.code, it.number, it.category, it.retryable, it.name) }
}

/** An event of the core. From `info` on it holds codes, durations and counts, and nothing from evidence. */
public class LogEvent internal constructor(
    /** `error`, `warn`, `info`, `debug` or `trace`. */
    public val level: String,
    public val message: String,
    public val fields: Map<String, Any?>,
    /** How many events before it were dropped. */
    public val dropped: Long,
) {
    override fun toString(): String = "$level: $message $fields"
}

private object Log {
    @Volatile
    var listener: Consumer<LogEvent>? = null

    private val thread by lazy {
        Thread(::pull, "blindbox-log").apply {
            isDaemon = true
            start()
        }
    }

    fun start() {
        thread
    }

    private fun pull() {
        while (true) {
            val event = logNext(1000u) ?: continue
            @Suppress("UNCHECKED_CAST")
            val fields = Json.parse(event.fields) as Map<String, Any?>
            try {
                listener?.accept(LogEvent(event.level, event.message, fields, event.dropped))
            } catch (failed: Exception) {
                Thread.currentThread().uncaughtExceptionHandler.uncaughtException(Thread.currentThread(), failed)
            }
        }
    }
}

/**
 * Reports events of the core to a function, from a level on: `error`, `warn`, `info`, `debug` or `trace`. It is called on a thread of its
 * own, and replaces the one before.
 */
@Throws(AttestationException::class)
public fun enableLogging(level: String, listener: Consumer<LogEvent>) {
    native { taken<Outcome.Done>(logLevel(level)) }
    Log.listener = listener
    Log.start()
}

/** Reports no more events. */
public fun disableLogging() {
    native { taken<Outcome.Done>(logLevel("off")) }
    Log.listener = null
}
