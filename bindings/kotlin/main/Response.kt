package blindbox.attestation

import blindbox.attestation.ffi.Failure
import blindbox.attestation.ffi.Head
import blindbox.attestation.ffi.Header
import blindbox.attestation.ffi.Outcome
import java.io.ByteArrayOutputStream
import java.io.InputStream
import java.nio.charset.Charset
import java.util.concurrent.CompletableFuture
import blindbox.attestation.ffi.Response as NativeResponse

/** Headers of a response. Names are compared without case. */
public class Headers internal constructor(private val raw: List<Header>) {
    /** The names, in lower case and in their order. */
    public val names: Set<String> get() = raw.mapTo(LinkedHashSet()) { it.name }

    /** Returns the value of a header; values of a repeated one are joined by commas. Bytes are read as Latin-1. */
    public operator fun get(name: String): String? = all(name).takeIf { it.isNotEmpty() }?.joinToString(", ")

    /** Returns every value of a header. */
    public fun all(name: String): List<String> = bytes(name).map { it.toString(Charsets.ISO_8859_1) }

    /** Returns every value of a header, as its bytes. */
    public fun bytes(name: String): List<ByteArray> = raw.filter { it.name.equals(name, ignoreCase = true) }.map { it.value }

    override fun toString(): String = "Headers$names"
}

/**
 * A response. Its body is read once: whole ([bytes], [text]), as a stream ([body]) or in pieces ([chunk]). Close a response that is not
 * read to its end.
 *
 * A body that breaks off is an exception on every read, and never an end.
 */
public class Response internal constructor(native: NativeResponse, head: Head, private val uploader: Uploader?) : AutoCloseable {
    /** The status; those of errors and redirects are responses like any other. */
    public val status: Int = head.status

    /** `HTTP/1.1` or `HTTP/2`. */
    public val version: String = head.version

    /** The URL of the request, against which a relative `Location` is read. */
    public val url: String = head.url

    /** The headers. */
    public val headers: Headers = Headers(head.headers)

    /** The body as a stream. Closing it closes the response. */
    public val body: InputStream = Body()

    // All of it is guarded by the lock, which is not held while a call waits.
    private val lock = Any()
    private var native: NativeResponse? = native
    private var early: ByteArray? = head.early.takeIf { it.isNotEmpty() }
    private var end: End? = if (head.complete) End.Complete else null
    private var given = false
    private var content: ByteArray? = null

    init {
        if (head.complete && uploader == null) release()
    }

    /** Pulls the next piece of the body as it arrives; `null` at its end. */
    @Throws(AttestationException::class)
    public fun chunk(): ByteArray? {
        val (piece, call) = pull()
        return if (call == null) piece else pulled(call.await())
    }

    /** The same without blocking. Cancelling the future gives up the rest of the body. */
    public fun chunkAsync(): CompletableFuture<ByteArray?> = try {
        val (piece, call) = pull()
        // A piece that was pulled and not taken is lost: what is left must not look like the whole.
        call?.future(dispose = { close() }, abandon = ::close, convert = ::pulled) ?: CompletableFuture.completedFuture(piece)
    } catch (failed: AttestationException) {
        CompletableFuture.failedFuture(failed)
    }

    private fun pull(): Pair<ByteArray?, Call?> = synchronized(lock) {
        val end = end
        if (end is End.Failed) throw exception(end.failure, uploader?.failure)
        given = true
        early?.let {
            early = null
            return Pair(it, null)
        }
        if (end == End.Complete) {
            release()
            return Pair(null, null)
        }
        val response = native!!
        Pair(null, native { engine -> engine.start { calls, id -> response.chunk(calls, id) } })
    }

    private fun pulled(outcome: Outcome): ByteArray? {
        when (outcome) {
            is Outcome.Pulled -> return outcome.bytes
            is Outcome.Ended -> finish(End.Complete)
            is Outcome.Failed -> {
                finish(End.Failed(outcome.failure))
                throw exception(outcome.failure, uploader?.failure)
            }
            else -> taken<Outcome.Pulled>(outcome)
        }
        return null
    }

    /** Reads the whole body, and keeps it. Throws if a piece of it was read before. */
    @Throws(AttestationException::class)
    public fun bytes(): ByteArray {
        synchronized(lock) {
            content?.let { return it }
            (end as? End.Failed)?.let { throw exception(it.failure, uploader?.failure) }
            if (given) throw argument("the body was read before, in pieces, at least in part: what is left is not the whole")
        }
        val all = ByteArrayOutputStream()
        while (true) {
            all.writeBytes(chunk() ?: break)
        }
        return all.toByteArray().also { synchronized(lock) { content = it } }
    }

    /** Reads the whole body as text, in the character set of its content type, or else in UTF-8. */
    @Throws(AttestationException::class)
    public fun text(): String = bytes().toString(charset())

    private fun charset(): Charset {
        val name = headers["content-type"]?.let { Regex("charset=\"?([^\\s;\"]+)", RegexOption.IGNORE_CASE).find(it) }
        return try {
            name?.let { Charset.forName(it.groupValues[1]) }
        } catch (_: IllegalArgumentException) {
            null
        } ?: Charsets.UTF_8
    }

    /** Gives up the rest of the body. Reading it further, also on a thread that waits for it, throws `Closed`. */
    override fun close() {
        finish(End.Failed(Failure("closed", 903, "misconfigured", false, false, "the response is closed", null)))
    }

    private fun finish(with: End) = synchronized(lock) {
        if (end == null) end = with
        if (with is End.Failed) early = null
        release()
    }

    // What the native part holds is given back at once: the collector does not see its size.
    private fun release() {
        native?.let {
            native { _ -> it.end() }
            it.destroy()
        }
        native = null
        uploader?.stop()
    }

    override fun toString(): String = "Response $status"

    private sealed class End {
        data object Complete : End()

        class Failed(val failure: Failure) : End()
    }

    private inner class Body : InputStream() {
        private var piece = ByteArray(0)
        private var at = 0

        override fun read(): Int = if (fill()) piece[at++].toInt() and 0xff else -1

        override fun read(bytes: ByteArray, from: Int, length: Int): Int {
            if (length == 0) return 0
            if (!fill()) return -1
            val taken = minOf(length, piece.size - at)
            piece.copyInto(bytes, from, at, at + taken)
            at += taken
            return taken
        }

        private fun fill(): Boolean {
            while (at == piece.size) {
                piece = chunk() ?: return false
                at = 0
            }
            return true
        }

        override fun available(): Int = piece.size - at

        override fun close() = this@Response.close()
    }
}
