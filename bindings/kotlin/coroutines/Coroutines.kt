/** Suspending calls. A coroutine that is cancelled cancels its call; the application may have received the request. */
@file:JvmName("Coroutines")

package blindbox.attestation.coroutines

import blindbox.attestation.Attestation
import blindbox.attestation.Evidence
import blindbox.attestation.Policy
import blindbox.attestation.Request
import blindbox.attestation.Response
import blindbox.attestation.Session
import blindbox.attestation.Verifier
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.suspendCancellableCoroutine
import java.io.ByteArrayOutputStream
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CompletionException
import kotlin.coroutines.resumeWithException
import blindbox.attestation.verifyConnectionAsync

/** Attests the peer behind a URL and opens a session with it, before any application data is sent. */
public suspend fun awaitConnection(url: String, policy: Policy): Session =
    verifyConnectionAsync(url, policy).awaited(Session::close)

/** Attests the peer behind a URL and opens a session with it, before any application data is sent. */
public suspend fun Verifier.awaitConnect(url: String, policy: Policy): Session = connectAsync(url, policy).awaited(Session::close)

/** Collects the evidence of the peer behind a URL without verifying it. */
public suspend fun Verifier.awaitCollect(url: String, policy: Policy): Evidence = collectAsync(url, policy).awaited()

/** Sends a request, and returns when the head of the response is there. */
public suspend fun Session.awaitSend(request: Request): Response = sendAsync(request).awaited(Response::close)

/** Opens a new connection and attests its peer again, whatever is known of it. */
public suspend fun Session.awaitReattest(): Attestation = reattestAsync().awaited()

/** Pulls the next piece of the body as it arrives; `null` at its end. Cancelling it gives up the rest of the body. */
public suspend fun Response.awaitChunk(): ByteArray? = chunkAsync().awaited { close() }

/** The body in pieces as they arrive. It is read once, and the response is closed when the collection ends. */
public fun Response.chunks(): Flow<ByteArray> = flow {
    use { while (true) emit(awaitChunk() ?: break) }
}

/** Reads what is left of the body. */
public suspend fun Response.awaitBytes(): ByteArray {
    val all = ByteArrayOutputStream()
    while (true) all.writeBytes(awaitChunk() ?: return all.toByteArray())
}

/** Waits for a future, and cancels it with the coroutine. A value that comes too late is given to `dispose`. */
@OptIn(ExperimentalCoroutinesApi::class)
private suspend fun <T> CompletableFuture<T>.awaited(dispose: (T) -> Unit = {}): T = suspendCancellableCoroutine { coroutine ->
    whenComplete { value, failure ->
        when {
            failure != null -> coroutine.resumeWithException((failure as? CompletionException)?.cause ?: failure)
            else -> coroutine.resume(value) { dispose(value) }
        }
    }
    coroutine.invokeOnCancellation { cancel(false) }
}
