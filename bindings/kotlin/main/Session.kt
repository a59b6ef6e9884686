package blindbox.attestation

import blindbox.attestation.ffi.Outcome
import java.io.InputStream
import java.util.concurrent.CompletableFuture
import blindbox.attestation.ffi.Session as NativeSession

/**
 * A session with an attested peer. Requests go to its origin only; redirects are returned as responses. Any thread may use it.
 *
 * Blocking calls end when their thread is interrupted: they throw `Cancelled`, and the thread stays interrupted. A request that was
 * cancelled may have been received by the application.
 */
public class Session internal constructor(private val native: NativeSession) : AutoCloseable {
    /** The URL that the session was opened with. */
    public val url: String = native { made(native.url()) }

    /** The latest attestation of the peer. */
    public val attestation: Attestation
        @Throws(AttestationException::class)
        get() = native { Attestation(made(native.attestation()), made(native.attestationText())) }

    /** Sends a request, and returns when the head of the response is there. */
    @Throws(AttestationException::class)
    public fun send(request: Request): Response = Sending(request).run { responded(call.await()) }

    /** The same without blocking. Cancelling the future cancels the request. */
    public fun sendAsync(request: Request): CompletableFuture<Response> = Sending(request).run {
        call.future(dispose = Response::close, abandon = ::stop, convert = ::responded)
    }

    /** Sends a GET request. */
    @Throws(AttestationException::class)
    public fun get(target: String): Response = send(Request("GET", target))

    /** Sends a POST request with text. */
    @Throws(AttestationException::class)
    public fun post(target: String, text: String): Response = send(Request("POST", target).body(text))

    /** Sends a POST request with bytes. */
    @Throws(AttestationException::class)
    public fun post(target: String, bytes: ByteArray): Response = send(Request("POST", target).body(bytes))

    /** Sends a POST request with a stream: see [Request.body]. */
    @Throws(AttestationException::class)
    public fun post(target: String, stream: InputStream): Response = send(Request("POST", target).body(stream))

    /** Opens a new connection and attests its peer again, whatever is known of it. */
    @Throws(AttestationException::class)
    public fun reattest(): Attestation = attested(reattesting().await())

    /** The same without blocking. */
    public fun reattestAsync(): CompletableFuture<Attestation> = reattesting().future(convert = ::attested)

    private fun reattesting() = native { engine -> engine.start { calls, id -> native.reattest(calls, id) } }

    private fun attested(outcome: Outcome) = Attestation(made(outcome))

    /** Closes the session: it sends nothing more. Responses that are being read are not cut off. */
    override fun close(): Unit = native { native.end() }

    /** A request under way, and the thread that writes its body. */
    private inner class Sending(request: Request) {
        // A body that another request has is refused by the core; its thread is that of the other one.
        private val uploader = request.uploader?.takeIf(Uploader::claim)

        val call: Call = native { engine ->
            engine.start { calls, id ->
                native.send(
                    calls,
                    id,
                    request.method,
                    request.target,
                    request.sentHeaders(),
                    request.content,
                    request.uploader?.upload,
                    request.timeoutMs,
                    request.isIdempotent,
                )
            }
        }

        init {
            // After the call was started: where it cannot be, nothing would end the thread.
            uploader?.start()
        }

        fun stop() {
            uploader?.stop()
        }

        fun responded(outcome: Outcome): Response {
            if (outcome is Outcome.Failed) {
                stop()
                throw exception(outcome.failure, uploader?.failure)
            }
            val (response, head) = taken<Outcome.Responded>(outcome)
            return Response(response, head, uploader)
        }
    }
}
