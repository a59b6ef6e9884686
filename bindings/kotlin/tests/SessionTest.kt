package tests

import blindbox.attestation.*
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test
import java.io.IOException
import java.io.InputStream
import java.net.InetSocketAddress
import java.nio.file.Files
import java.time.Duration
import java.util.concurrent.CancellationException
import java.util.concurrent.CompletableFuture
import java.util.concurrent.ExecutionException
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import java.util.concurrent.TimeoutException
import kotlin.concurrent.thread

class SessionTest : EmulatedTest() {
    /** Runs work on a thread that is interrupted once the application has its request. */
    private fun interrupted(work: () -> Any?): AttestationException.Unavailable {
        val outcome = CompletableFuture<AttestationException.Unavailable>()
        val sent = emulator.traffic("application_requests")
        val worker = thread {
            try {
                val found = thrown<AttestationException.Unavailable>(work)
                check(Thread.currentThread().isInterrupted)
                outcome.complete(found)
            } catch (failed: Throwable) {
                outcome.completeExceptionally(failed)
            }
        }
        until("the request") { emulator.traffic("application_requests") > sent }
        worker.interrupt()
        return outcome.get(60, TimeUnit.SECONDS)
    }

    @Test
    fun `a request is sent again if the caller permits it`() {
        // It delivers a request, and says that the instance does not know the key.
        Emulator("--agent", "bound-message", "--front-end", "--knob", "front-end-report-unknown-key").use { lossy ->
            lossy.connect().use { session ->
                fun processed(request: Request): Long {
                    val before = lossy.traffic("application_requests")
                    val failed = thrown<AttestationException.Unavailable> { session.send(request) }
                    assertEquals("application-unreachable", failed.code)
                    assertTrue(failed.requestSent)
                    return lossy.traffic("application_requests") - before
                }
                fun post() = Request("POST", "/echo")
                assertEquals(1, processed(post().body("x")))
                assertEquals(3, processed(post().body("x").idempotent()))
                // It can be read once.
                assertEquals(1, processed(post().body("x".byteInputStream()).idempotent()))
            }
        }
    }

    @Test
    fun `requests and responses`() {
        assertEquals("bound", session.attestation.channel)
        assertTrue(session.attestation.toString().contains("passed"))
        assertTrue(session.attestation.claims["snp"] is Map<*, *>)
        session.get("/").use {
            assertEquals(200, it.status)
            assertEquals("hello from a BlindBox", it.text())
            assertEquals("hello from a BlindBox", it.text())
            assertEquals(it.url, emulator.url + "/")
        }
        assertEquals("text", session.post("/echo", "text").text())
        assertEquals("ä", session.post("/echo", "ä").text())
        assertEquals("DELETE", session.send(Request("DELETE", "/echo")).text())
        val head = session.send(Request("HEAD", "/"))
        assertEquals(200, head.status)
        assertEquals("", head.text())
        assertEquals("invalid-request", thrown<AttestationException.Misconfigured> { session.send(Request("CONNECT", "/")) }.code)
        assertEquals("bound", session.reattest().channel)
    }

    @Test
    fun `a request that cannot be started leaves no thread`() {
        // UniFFI refuses it before the core sees it: nothing would end a thread that waits for a connection.
        val request = Request("POST", "/\ud800").body("x".byteInputStream())
        thrown<AttestationException.Misconfigured> { session.send(request) }
        val stacks = Thread.getAllStackTraces().values
        assertTrue(stacks.none { stack -> stack.any { it.className.startsWith("blindbox.attestation.Uploader") } })
    }

    @Test
    fun `a content type of the caller replaces that of JSON`() {
        val types = { request: Request ->
            (Json.parse(session.send(request).text()) as List<*>).map { it as List<*> }.filter { it[0] == "content-type" }.map { it[1] }
        }
        assertEquals(listOf("application/json"), types(Request("GET", "/headers").json("{}").json("{}")))
        assertEquals(listOf("text/mine"), types(Request("GET", "/headers").json("{}").header("Content-Type", "text/mine")))
    }

    @Test
    fun `headers are bytes`() {
        val request = Request("GET", "/headers").header("X-Mine", "1").header("x-latin", byteArrayOf(0xe4.toByte()))
        val sent = (Json.parse(session.send(request).text()) as List<*>).associate { it as List<*>; it[0] to it[1] }
        assertEquals("1", sent["x-mine"])
        // One byte, which is not UTF-8.
        assertEquals("\ufffd", sent["x-latin"])
        val own = session.send(Request("POST", "/echo").header("content-type", "text/mine").body("x"))
        assertEquals("text/mine", own.headers["Content-Type"])
        assertNull(own.headers["nothing"])
        thrown<AttestationException.Misconfigured> { session.send(Request("GET", "/").header("host", "evil.example")) }
        thrown<AttestationException.Misconfigured> { session.send(Request("GET", "/").header("x", "a\r\nb: c")) }
    }

    @Test
    fun `a large body comes in pieces, and is read once`() {
        val large = session.get("/large?bytes=1000000")
        var size = 0
        var pieces = 0
        while (true) {
            size += (large.chunk() ?: break).size
            pieces++
        }
        assertEquals(1_000_000, size)
        assertTrue("$pieces pieces", pieces > 1)
        assertNull(large.chunk())
        assertEquals("misconfigured", thrown<AttestationException.Misconfigured> { large.bytes() }.code)
        assertEquals(1_000_000, session.get("/large?bytes=1000000").bytes().size)
        session.get("/large?bytes=1000000").body.use { assertEquals(1_000_000, it.readAllBytes().size) }
        assertEquals('h'.code, session.get("/").body.read())
    }

    @Test
    fun `a megabyte is sent from a stream, and comes back`() {
        val body = ByteArray(1 shl 20) { (it / 4096).toByte() }
        assertArrayEquals(body, session.post("/echo", body.inputStream()).bytes())
        assertArrayEquals(body, session.send(Request("POST", "/echo").body(body.inputStream(), body.size.toLong())).bytes())
        assertArrayEquals(body, session.send(Request("POST", "/echo").body(-1) { it.write(body) }).bytes())
        val file = emulator.file("upload")
        Files.write(file, body)
        assertArrayEquals(body, session.post("/echo", Files.newInputStream(file)).bytes())
        assertEquals("", session.post("/echo", ByteArray(0).inputStream()).text())
    }

    @Test
    fun `a stream is sent once, and keeps its length`() {
        val once = Request("POST", "/echo").body("abc".byteInputStream())
        assertEquals("abc", session.send(once).text())
        assertEquals("invalid-request", thrown<AttestationException.Misconfigured> { session.send(once) }.code)
        val short = thrown<AttestationException.Misconfigured> {
            session.send(Request("POST", "/echo").body("abc".byteInputStream(), 4))
        }
        assertEquals("request-body-failed", short.code)
        assertTrue(short.message!!, short.message!!.contains("3 of the 4 bytes"))
    }

    @Test
    fun `a source that fails fails its request, and is its cause`() {
        val failure = IOException("the disk is gone")
        val broken = object : InputStream() {
            override fun read(): Int = throw failure
        }
        val found = thrown<RequestBodyFailed> { session.post("/echo", broken) }
        assertEquals(406, found.number)
        assertEquals(failure, found.cause)
        // The text of an error of the caller's may be secret.
        assertFalse(found.message!!.contains("disk"))
        assertEquals(200, session.get("/").status)
    }

    @Test
    fun `a source is not read for a request that is refused`() {
        val untouched = object : InputStream() {
            override fun read(): Int = throw AssertionError("it was read")
        }
        val request = Request("POST", "https://evil.example/").body(untouched)
        assertNull(thrown<InvalidRequest> { session.send(request) }.cause)
    }

    @Test
    fun `a response may come while its request is sent, piece for piece`() {
        // An application that returns each piece when it has it.
        val server = com.sun.net.httpserver.HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0)
        server.createContext("/") { exchange ->
            exchange.sendResponseHeaders(200, 0)
            val piece = ByteArray(1024)
            while (true) {
                val size = exchange.requestBody.read(piece)
                if (size < 0) break
                exchange.responseBody.write(piece, 0, size)
                exchange.responseBody.flush()
            }
            exchange.close()
        }
        server.start()
        try {
            Emulator("--application", "http://127.0.0.1:${server.address.port}").use { other ->
                other.connect().use { echo ->
                    val heard = LinkedBlockingQueue<String>()
                    val request = Request("POST", "/").body(-1) { output ->
                        for (number in 0 until 3) {
                            output.write("question $number".toByteArray())
                            output.flush()
                            assertEquals("question $number", heard.poll(60, TimeUnit.SECONDS))
                        }
                    }
                    echo.send(request).use { response ->
                        while (true) heard.add((response.chunk() ?: break).decodeToString())
                    }
                    assertTrue(heard.isEmpty())
                }
            }
        } finally {
            server.stop(0)
        }
    }

    @Test
    fun `a body that breaks off is an exception, and never an end`() {
        emulator.order("fail /large=truncated")
        val whole = session.get("/large?bytes=100000")
        assertEquals("application-unreachable", thrown<ApplicationUnreachable> { whole.bytes() }.code)
        // On every read: a caller that sends again unless the request may have arrived would otherwise send it twice.
        assertTrue(thrown<ApplicationUnreachable> { whole.text() }.requestSent)
        val pieces = session.get("/large?bytes=100000").body
        repeat(2) {
            val found = thrown<ApplicationUnreachable> { pieces.readAllBytes() }
            assertTrue(found.requestSent)
        }
    }

    @Test
    fun `other origins are refused, and redirects are responses`() {
        val sent = emulator.traffic("application_requests")
        for (url in listOf("https://evil.example/", emulator.url.replace("https:", "http:"), "//evil.example/", "evil")) {
            val found = thrown<InvalidRequest> { session.get(url) }
            assertFalse(found.requestSent)
        }
        assertEquals(sent, emulator.traffic("application_requests"))
        val redirect = session.get("/redirect?to=https://evil.example/")
        assertEquals(302, redirect.status)
        assertEquals("https://evil.example/", redirect.headers["location"])
        assertEquals(200, session.get(emulator.url + "/").status)
    }

    @Test
    fun `an interrupt ends a request that hangs, and the session goes on`() {
        emulator.order("fail /=hang")
        val found = interrupted { session.get("/") }
        assertTrue(found is Cancelled && found.requestSent)
        emulator.order("reset")
        assertEquals(200, session.get("/").status)
    }

    @Test
    fun `an interrupt ends a body that stalls, whose rest is then no whole`() {
        emulator.connect().use { other ->
            emulator.order("fail /=drip:60000")
            val stalled = other.get("/")
            val outcome = CompletableFuture<Cancelled>()
            val reader = thread {
                try {
                    outcome.complete(thrown<Cancelled> { stalled.bytes() })
                } catch (failed: Throwable) {
                    outcome.completeExceptionally(failed)
                }
            }
            reader.interrupt()
            assertEquals("cancelled", outcome.get(60, TimeUnit.SECONDS).code)
            thrown<Cancelled> { stalled.chunk() }
        }
    }

    @Test
    fun `cancelling a future ends its request, and so does its time`() {
        emulator.order("fail /=hang")
        val sent = emulator.traffic("application_requests")
        val request = session.sendAsync(Request("GET", "/"))
        until("the request") { emulator.traffic("application_requests") > sent }
        assertTrue(request.cancel(true))
        thrown<CancellationException> { request.get() }
        val timed = session.sendAsync(Request("GET", "/")).orTimeout(20, TimeUnit.MILLISECONDS)
        assertTrue(thrown<ExecutionException> { timed.get() }.cause is TimeoutException)
        emulator.order("fail /attest=hang")
        val attested = emulator.settings().build().connectAsync(emulator.url, emulator.policy)
        assertTrue(attested.cancel(true))
        emulator.order("reset")
        assertEquals("hello from a BlindBox", session.sendAsync(Request("GET", "/")).thenApply(Response::text).get())
    }

    @Test
    fun `limits of time`() {
        emulator.settings().requestTimeout(Duration.ofMillis(100)).build().connect(emulator.url, emulator.policy).use {
            emulator.order("fail /=hang")
            thrown<Timeout> { it.get("/") }
        }
        val one = thrown<Timeout> { session.send(Request("GET", "/").timeout(Duration.ofMillis(100))) }
        assertEquals(Pair("timeout", true), Pair(one.code, one.retryable))
        thrown<AttestationException.Misconfigured> { Request("GET", "/").timeout(Duration.ZERO) }
        emulator.order("fail /attest=hang")
        val verifier = emulator.settings().deadline(Duration.ofMillis(200)).build()
        thrown<AttestationException.Unavailable> { verifier.connect(emulator.url, emulator.policy) }
    }

    @Test
    fun `a response that is closed ends a read that waits`() {
        val other = emulator.connect()
        emulator.order("fail /=drip:60000")
        val response = other.get("/")
        val reading = CompletableFuture<AttestationException.Misconfigured>()
        val begun = CompletableFuture<Unit>()
        thread {
            try {
                begun.complete(Unit)
                reading.complete(thrown<AttestationException.Misconfigured> { response.bytes() })
            } catch (failed: Throwable) {
                reading.completeExceptionally(failed)
            }
        }
        begun.get()
        response.close()
        assertEquals("closed", reading.get(60, TimeUnit.SECONDS).code)
        assertEquals("closed", thrown<Closed> { response.chunk() }.code)
        thrown<ExecutionException> { response.chunkAsync().get() }
        response.close()
        other.close()
        // A body that was given up frees its stream.
        repeat(300) { session.get("/large?bytes=3000000").close() }
        assertEquals(200, session.get("/").status)
    }

    @Test
    fun `a session that is closed sends nothing, and lets a call under way end`() {
        val other = emulator.connect()
        val large = other.get("/large?bytes=1000000")
        val sent = emulator.traffic("application_requests")
        other.close()
        other.close()
        for (work in listOf({ other.get("/") }, { other.reattest() }, { other.attestation })) {
            val found = thrown<Closed>(work)
            assertEquals(Triple("closed", 903, false), Triple(found.code, found.number, found.requestSent))
        }
        assertEquals(sent, emulator.traffic("application_requests"))
        assertEquals(1_000_000, large.bytes().size)
    }

    @Test
    fun `eight threads at a time, and 200 futures`() {
        val failures = LinkedBlockingQueue<Throwable>()
        val threads = List(8) { number ->
            thread {
                try {
                    repeat(25) { assertEquals("$number $it", session.post("/echo", "$number $it").text()) }
                } catch (failed: Throwable) {
                    failures.add(failed)
                }
            }
        }
        threads.forEach(Thread::join)
        failures.peek()?.let { throw it }
        val futures = List(200) { session.sendAsync(Request("POST", "/echo").body("$it")).thenApply(Response::text) }
        assertEquals(List(200) { "$it" }, futures.map { it.get(60, TimeUnit.SECONDS) })
    }

    @Test
    fun `settings that cannot be used are refused`() {
        for (settings in listOf(
            emulator.settings().agent("nonsense"),
            emulator.settings().collateralRoots("nonsense".toByteArray()),
            emulator.settings().platformCollateralRoots(),
            emulator.settings().resolve("a.example", "nowhere"),
            emulator.settings().extraApplicationRoots(emulator.file("application-root.pem")),
        )) {
            thrown<AttestationException.Misconfigured> { settings.build() }
        }
        for ((name, settings) in listOf(
            "collateral_roots" to emulator.settings().collateralRoots(emulator.file("application-root.pem")),
            "resolve" to emulator.settings().resolve("a.example", "127.0.0.1:1").resolve("a.example", "127.0.0.1:1"),
            "front_end_headers" to emulator.settings().frontEndHeader("x-key", "1").frontEndHeader("x-key", "2"),
        )) {
            val found = thrown<AttestationException.Misconfigured> { settings.build() }
            assertEquals("misconfigured: settings: expected one value for $name, found a second one", found.message)
        }
        thrown<AttestationException.Misconfigured> { Verifier.builder().deadline(Duration.ZERO) }
        thrown<java.nio.file.NoSuchFileException> { Verifier.builder().keySet(emulator.file("nowhere")) }
    }

    @Test
    fun `an application that is not there`() {
        val found = thrown<ApplicationUnreachable> { verifyConnection("https://127.0.0.1:1", emulator.policy) }
        assertTrue(found.retryable)
        thrown<InvalidUrl> { verifyConnection("nonsense", emulator.policy) }
    }
}
