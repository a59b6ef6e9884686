package tests

import blindbox.attestation.*
import blindbox.attestation.coroutines.awaitBytes
import blindbox.attestation.coroutines.awaitChunk
import blindbox.attestation.coroutines.awaitCollect
import blindbox.attestation.coroutines.awaitConnect
import blindbox.attestation.coroutines.awaitReattest
import blindbox.attestation.coroutines.awaitSend
import blindbox.attestation.coroutines.chunks
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeoutOrNull
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test

class CoroutinesTest : EmulatedTest() {
    @Test
    fun `a session`() = runBlocking {
        emulator.settings().build().awaitConnect(emulator.url, emulator.policy).use { session ->
            assertEquals("hello from a BlindBox", session.awaitSend(Request("GET", "/")).text())
            assertEquals("bound", session.awaitReattest().channel)
            assertEquals(1_000_000, session.awaitSend(Request("GET", "/large?bytes=1000000")).awaitBytes().size)
            val pieces = session.awaitSend(Request("GET", "/large?bytes=1000000")).chunks().toList()
            assertEquals(1_000_000, pieces.sumOf { it.size })
            val begun = session.awaitSend(Request("GET", "/large?bytes=1000000"))
            assertEquals(1, begun.chunks().take(1).toList().size)
            thrown<Closed> { begun.awaitChunk() }
        }
        assertTrue(emulator.settings().build().awaitCollect(emulator.url, emulator.policy).documents.isNotEmpty())
    }

    @Test
    fun `a refusal`() = runBlocking {
        emulator.order("knob debug")
        val found = thrown<DebugMode> { emulator.settings().build().awaitConnect(emulator.url, emulator.policy) }
        assertEquals(101, found.number)
    }

    @Test
    fun `a coroutine that is cancelled ends its request`() = runBlocking {
        emulator.order("fail /=hang")
        val sent = emulator.traffic("application_requests")
        var ended: Throwable? = null
        val job = launch(Dispatchers.Default) {
            ended = thrown<CancellationException> { session.awaitSend(Request("GET", "/")) }
        }
        until("the request") { emulator.traffic("application_requests") > sent }
        job.cancelAndJoin()
        assertTrue(ended is CancellationException)
        assertNull(withTimeoutOrNull(50) { session.awaitSend(Request("GET", "/")) })
        emulator.order("reset")
        assertEquals(200, session.awaitSend(Request("GET", "/")).status)
    }

    @Test
    fun `a coroutine that is cancelled gives up a body`() = runBlocking {
        emulator.connect().use { other ->
            emulator.order("fail /=drip:60000")
            val stalled = other.awaitSend(Request("GET", "/"))
            assertNull(withTimeoutOrNull(50) { stalled.awaitBytes() })
            // What is left must not look like the whole.
            thrown<AttestationException> { stalled.chunk() }
            Unit
        }
    }

    @Test
    fun `200 at a time`() = runBlocking {
        val responses = List(200) { async { session.awaitSend(Request("POST", "/echo").body("$it")).awaitBytes().decodeToString() } }
        assertEquals(List(200) { "$it" }, responses.awaitAll())
    }
}
