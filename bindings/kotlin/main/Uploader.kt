package blindbox.attestation

import blindbox.attestation.ffi.Upload
import java.io.IOException
import java.io.OutputStream
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors
import java.util.concurrent.Future
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicLong

/** Writes a request body on a thread of its own. */
internal class Uploader(length: ULong?, private val buffered: Boolean, private val writer: BodyWriter) {
    val upload: Upload = native { Upload(length) }

    /** Why the source failed. */
    @Volatile
    var failure: Throwable? = null
        private set

    private val claimed = AtomicBoolean()
    private var task: Future<*>? = null

    /** Returns whether it is the first request that has the body. The core refuses any other. */
    fun claim(): Boolean = claimed.compareAndSet(false, true)

    /** Starts writing, once the request was started. */
    fun start() {
        try {
            task = POOL.submit(::run)
        } catch (failed: Throwable) {
            // No thread can be started: the request would wait for its body.
            fail(failed)
        }
    }

    /** Interrupts a source that waits: the request takes no more. */
    fun stop() {
        task?.cancel(true)
    }

    private fun run() {
        // Nothing is read before the request has a connection.
        if (!upload.ready()) return
        try {
            val output = Output()
            if (buffered) output.buffered(64 shl 10).also(writer::writeTo).flush() else writer.writeTo(output)
            upload.finish()
        } catch (_: Ended) {
            // The outcome of the request says why.
        } catch (failed: Throwable) {
            fail(failed)
        }
    }

    private fun fail(failed: Throwable) {
        failure = failed
        upload.fail("its source failed: ${failed.javaClass.simpleName}")
    }

    private inner class Output : OutputStream() {
        override fun write(byte: Int) = write(byteArrayOf(byte.toByte()))

        override fun write(bytes: ByteArray, from: Int, length: Int) {
            if (length > 0 && !upload.write(bytes.copyOfRange(from, from + length))) throw Ended()
        }
    }

    /** The request takes no more. */
    private class Ended : IOException("the request has ended")

    private companion object {
        val POOL: ExecutorService = AtomicLong().let { count ->
            Executors.newCachedThreadPool { work ->
                Thread(work, "blindbox-upload-${count.incrementAndGet()}").apply { isDaemon = true }
            }
        }
    }
}
