package blindbox.attestation

import blindbox.attestation.ffi.Header
import java.io.IOException
import java.io.InputStream
import java.io.OutputStream
import java.time.Duration

/** Writes a request body while it is sent. It is called on another thread, once the request has a connection to an attested peer. */
public fun interface BodyWriter {
    /** Writes the whole body; `flush` sends what was written so far. What it throws fails the request. */
    @Throws(IOException::class)
    public fun writeTo(output: OutputStream)
}

/** A request. `target` begins with a slash, or is a URL on the session's origin. */
public class Request(public val method: String, public val target: String) {
    private val headers = ArrayList<Header>()
    private var contentType: String? = null
    internal var content: ByteArray? = null
    internal var uploader: Uploader? = null
    internal var timeoutMs: ULong? = null
    internal var isIdempotent: Boolean = false

    /** Adds a header. Text outside of ASCII is sent as UTF-8. */
    public fun header(name: String, value: String): Request = header(name, value.toByteArray())

    /** Adds a header with a value of any bytes. */
    public fun header(name: String, value: ByteArray): Request = apply { headers += Header(name, value) }

    /** Sets a body of text, in UTF-8. */
    public fun body(text: String): Request = body(text.toByteArray())

    /** Sets a body of bytes. */
    public fun body(bytes: ByteArray): Request = apply {
        content = bytes
        uploader = null
        contentType = null
    }

    /** Sets a body of JSON, and its content type unless a header sets another. */
    public fun json(text: String): Request = body(text).apply { contentType = "application/json" }

    /**
     * Sets a body that is read from a stream while it is sent, in flat memory, and closed after it. `length` is what it has in all, or -1
     * if that is not known. It is read on another thread and sent once. If the response comes before all of it was sent, the rest is sent
     * while the response is read, and given up at its end.
     */
    @JvmOverloads
    public fun body(stream: InputStream, length: Long = -1): Request = uploaded(length, buffered = false) { output ->
        stream.use { it.copyTo(output, 64 shl 10) }
    }

    /** Sets a body that is written while it is sent, in flat memory. `length` is what it has in all, or -1. It is sent once. */
    public fun body(length: Long, writer: BodyWriter): Request = uploaded(length, buffered = true, writer)

    /** The headers as they are sent. */
    internal fun sentHeaders(): List<Header> {
        val type = contentType?.takeIf { headers.none { header -> header.name.equals("content-type", ignoreCase = true) } }
        return if (type == null) headers.toList() else headers + Header("content-type", type.toByteArray())
    }

    private fun uploaded(length: Long, buffered: Boolean, writer: BodyWriter) = apply {
        content = null
        contentType = null
        uploader = Uploader(length.takeIf { it >= 0 }?.toULong(), buffered, writer)
    }

    /** Limits the time to the end of the response body, in place of the verifier's limit. */
    @Throws(AttestationException::class)
    public fun timeout(limit: Duration): Request = apply { timeoutMs = milliseconds("timeout", limit).toULong() }

    /**
     * States that to process the request twice has the same effect as to process it once. It counts in sessions with sealed messages
     * (`own-message-key`): after an error that the front end may have made up, the request is sent again, at most twice; not one whose
     * body is a stream or a writer. `GET`, `HEAD` and `OPTIONS` are idempotent without it.
     */
    public fun idempotent(): Request = apply { isIdempotent = true }
}
