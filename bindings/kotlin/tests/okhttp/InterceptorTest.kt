package tests

import blindbox.attestation.*
import blindbox.attestation.okhttp.AttestedInterceptor
import okhttp3.Call
import okhttp3.Callback
import okhttp3.MediaType
import okhttp3.OkHttpClient
import okhttp3.RequestBody
import okio.BufferedSink
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test
import java.io.IOException
import java.util.concurrent.CompletableFuture
import java.util.concurrent.TimeUnit
import okhttp3.Request as OkRequest
import okhttp3.Response as OkResponse

class InterceptorTest : EmulatedTest() {
    private val client = OkHttpClient.Builder().addInterceptor(AttestedInterceptor(session)).build()

    private fun get(target: String) = OkRequest.Builder().url(if (target.startsWith("/")) emulator.url + target else target).build()

    private fun text(request: OkRequest): String = client.newCall(request).execute().use { it.body()!!.string() }

    @Test
    fun `requests go through the session`() {
        assertEquals("hello from a BlindBox", text(get("/")))
        val json = RequestBody.create(MediaType.parse("application/json"), "{}")
        client.newCall(OkRequest.Builder().url("${emulator.url}/echo").header("x-mine", "1").post(json).build()).execute().use {
            assertEquals("{}", it.body()!!.string())
            assertTrue(it.header("content-type")!!.startsWith("application/json"))
        }
        assertEquals(1_000_000, client.newCall(get("/large?bytes=1000000")).execute().use { it.body()!!.bytes().size })
        assertEquals(200, client.newCall(OkRequest.Builder().url(emulator.url).head().build()).execute().use { it.code() })
        val large = object : RequestBody() {
            override fun contentType(): MediaType? = null

            override fun writeTo(sink: BufferedSink) {
                repeat(256) { sink.write(ByteArray(4096)) }
            }
        }
        val request = OkRequest.Builder().url("${emulator.url}/echo").post(large).build()
        assertEquals(1 shl 20, client.newCall(request).execute().use { it.body()!!.bytes().size })
    }

    @Test
    fun `other origins are refused, and redirects are responses`() {
        val sent = emulator.traffic("application_requests")
        for (url in listOf("https://evil.example/", emulator.url.replace("https:", "http:"))) {
            assertFalse(thrown<InvalidRequest> { text(get(url)) }.requestSent)
        }
        assertEquals(sent, emulator.traffic("application_requests"))
        client.newCall(get("/redirect?to=https://evil.example/")).execute().use { assertEquals(302, it.code()) }
    }

    @Test
    fun `a call that is cancelled ends`() {
        emulator.order("fail /=hang")
        val sent = emulator.traffic("application_requests")
        val ended = CompletableFuture<IOException>()
        val call = client.newCall(get("/"))
        call.enqueue(object : Callback {
            override fun onFailure(call: Call, failure: IOException) {
                ended.complete(failure)
            }

            override fun onResponse(call: Call, response: OkResponse) {
                ended.completeExceptionally(AssertionError("$response"))
            }
        })
        until("the request") { emulator.traffic("application_requests") > sent }
        call.cancel()
        assertEquals("Canceled", ended.get(60, TimeUnit.SECONDS).message)
        val limited = client.newBuilder().callTimeout(100, TimeUnit.MILLISECONDS).build()
        thrown<IOException> { limited.newCall(get("/")).execute() }
    }

    @Test
    fun `a body that breaks off is an exception`() {
        emulator.order("fail /large=truncated")
        thrown<ApplicationUnreachable> { text(get("/large?bytes=100000")) }
    }

    @Test
    fun `a body that fails is the cause`() {
        val failure = IOException("the disk is gone")
        val broken = object : RequestBody() {
            override fun contentType(): MediaType? = null

            override fun writeTo(sink: BufferedSink) = throw failure
        }
        val request = OkRequest.Builder().url("${emulator.url}/echo").post(broken).build()
        assertEquals(failure, thrown<RequestBodyFailed> { text(request) }.cause)
    }
}
