package blindbox.attestation

import blindbox.attestation.ffi.Calls
import blindbox.attestation.ffi.Outcome
import java.util.concurrent.CompletableFuture
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.ExecutionException
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicLong

/**
 * Calls that are under way. One thread pulls outcomes from the native part, which never calls the JVM; threads that wait do so in the
 * JVM, so that they can be interrupted, and a virtual thread holds no other thread.
 */
internal class Engine {
    private val calls = Calls()
    private val ids = AtomicLong()
    private val waiting = ConcurrentHashMap<Long, CompletableFuture<Outcome>>()

    init {
        Thread(::pull, "blindbox-calls").apply {
            isDaemon = true
            start()
        }
    }

    private fun pull() {
        while (true) {
            try {
                val (id, outcome) = calls.next()
                val waits = waiting.remove(id)
                if (waits == null || !waits.complete(outcome)) {
                    outcome.destroy()
                }
            } catch (failed: Throwable) {
                // Its outcome is lost, and it is not known whose it was: no thread must wait for ever.
                waiting.keys.forEach { waiting.remove(it)?.completeExceptionally(failed) }
            }
        }
    }

    /** Starts a call with the id that it is given. */
    fun start(begin: (Calls, Long) -> Unit): Call {
        val id = ids.incrementAndGet()
        val outcome = CompletableFuture<Outcome>()
        waiting[id] = outcome
        try {
            begin(calls, id)
        } catch (failed: Throwable) {
            waiting.remove(id)
            throw failed
        }
        return Call({ calls.cancel(id) }, outcome)
    }
}

/** A call that was started. */
internal class Call(private val cancel: () -> Unit, private val outcome: CompletableFuture<Outcome>) {
    /** Waits for the outcome. Interrupting this thread cancels the call, and the thread stays interrupted. */
    fun await(): Outcome {
        try {
            return outcome.get()
        } catch (_: InterruptedException) {
            cancel()
            Thread.currentThread().interrupt()
            // At once: the outcome, `cancelled` or what came before, also knows whether a request was sent.
            return outcome.handle { found, _ -> found }.join() ?: throw lost()
        } catch (_: ExecutionException) {
            throw lost()
        }
    }

    /**
     * A future of the converted outcome. When it is completed from elsewhere (cancelled, timed out), the call is cancelled, `abandon` is
     * called, and a value that comes nevertheless is given to `dispose`.
     */
    fun <T> future(dispose: (T) -> Unit = {}, abandon: () -> Unit = {}, convert: (Outcome) -> T): CompletableFuture<T> {
        val future = CompletableFuture<T>()
        val ended = AtomicBoolean()
        // On the pool of the JVM: what depends on the future runs there too, and must not hold up other calls.
        outcome.whenCompleteAsync { found, _ ->
            ended.set(true)
            val value = try {
                convert(found ?: throw lost())
            } catch (failed: Throwable) {
                future.completeExceptionally(failed)
                return@whenCompleteAsync
            }
            if (!future.complete(value)) {
                dispose(value)
            }
        }
        future.whenComplete { _, _ ->
            if (!ended.get()) {
                cancel()
                abandon()
            }
        }
        return future
    }
}

private fun lost() = internal("the outcome of a call is lost")

/** The outcome of a kind, or the exception of a failure. */
internal inline fun <reified T : Outcome> taken(outcome: Outcome): T = when (outcome) {
    is T -> outcome
    is Outcome.Failed -> throw exception(outcome.failure)
    else -> {
        outcome.destroy()
        throw internal("expected another outcome")
    }
}

/** The text of an outcome. */
internal fun made(outcome: Outcome): String = taken<Outcome.Made>(outcome).text
