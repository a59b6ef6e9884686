package tests

import blindbox.attestation.*
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test
import java.io.ByteArrayInputStream
import java.io.ByteArrayOutputStream
import java.io.ObjectInputStream
import java.io.ObjectOutputStream
import java.io.PrintWriter
import java.io.StringWriter
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit

class ErrorsTest {
    private val bases = mapOf(
        "rejected" to AttestationException.Rejected::class.java,
        "untrusted" to AttestationException.Untrusted::class.java,
        "unavailable" to AttestationException.Unavailable::class.java,
        "misconfigured" to AttestationException.Misconfigured::class.java,
        "internal" to AttestationException.Internal::class.java,
    )

    @Test
    fun `there is a class for each code`() {
        val all = codes()
        assertTrue("${all.size}", all.size > 40)
        assertEquals(all.map { it.number }.sorted(), all.map { it.number })
        assertEquals("debug-mode (101)", all.first().toString())
        for (code in all) {
            val made = exception(Facts(code.code, code.number, code.category, code.retryable, true, "the reason", null))
            assertEquals(code.name, made.javaClass.simpleName)
            assertTrue(code.name, bases[code.category]!!.isInstance(made))
            assertEquals(listOf(code.code, code.number, code.category), listOf(made.code, made.number, made.category))
            assertEquals(listOf(code.retryable, true, "the reason"), listOf(made.retryable, made.requestSent, made.message))
            assertNull(made.appraisal)
        }
    }

    @Test
    fun `a code of a newer core has the class of its category`() {
        val made = exception(Facts("new-check", 199, "rejected", false, false, "new", "[]"))
        assertEquals(AttestationException.Rejected::class.java, made.javaClass)
        assertEquals(emptyList<Check>(), made.appraisal)
        assertTrue(exception(Facts("x", 999, "new", false, false, "", null)) is AttestationException.Internal)
    }

    @Test
    fun `a rejection has its checks, but not where it is printed`() {
        Emulator("--product", "milan").use { amd ->
            val chip = amd.connect().use { (it.attestation.claims["snp"] as Map<*, *>)["chip_id"] as String }
            assertEquals(128, chip.length)
            @Suppress("UNCHECKED_CAST")
            val fields = Json.parse(amd.policy.toJson()) as Map<String, Any?>
            val other = Policy.fromMap(fields + ("require" to mapOf("chip-ids" to listOf(chip.reversed()))))
            val found = thrown<WrongChip> { amd.settings().build().connect(amd.url, other) }
            assertEquals(chip, found.appraisal!!.single { it.verdict == "failed" }.actual)
            val trace = StringWriter().also { found.printStackTrace(PrintWriter(it)) }.toString()
            for (printed in listOf(found.message!!, found.toString(), trace, found.appraisal.toString())) {
                assertFalse(printed.contains(chip))
            }
            val bytes = ByteArrayOutputStream().also { ObjectOutputStream(it).writeObject(found) }.toByteArray()
            val copy = ObjectInputStream(ByteArrayInputStream(bytes)).readObject() as WrongChip
            assertEquals(found.number, copy.number)
            assertEquals(chip, copy.appraisal!!.single { it.verdict == "failed" }.actual)
        }
    }

    @Test
    fun `refusals, before a byte is sent`() {
        val refusals = listOf(
            Triple("debug", DebugMode::class.java, "rejected"),
            Triple("no-compliance-status", NonCompliantUvm::class.java, "rejected"),
            Triple("host-data=${"66".repeat(32)}", InvalidEnclaveCode::class.java, "rejected"),
            Triple("uvm-svn=1", UvmTooOld::class.java, "rejected"),
            Triple("token-bad-signature", InvalidToken::class.java, "untrusted"),
            Triple("old-nonce", FalseAttestationReport::class.java, "untrusted"),
            Triple("token-issuer=https://evil.example", WrongAttester::class.java, "untrusted"),
            Triple("no-token", MaaTokenNotFound::class.java, "unavailable"),
        )
        Emulator().use { emulator ->
            for ((knob, kind, category) in refusals) {
                emulator.order("knob $knob")
                val found = thrown<AttestationException> { emulator.connect() }
                assertEquals(knob, kind, found.javaClass)
                assertEquals(knob, Triple(category, false, category == "rejected"), Triple(found.category, found.requestSent, found.appraisal != null))
                assertEquals(0, emulator.traffic("application_bytes"))
                emulator.order("reset")
            }
        }
    }

    @Test
    fun `a native part of another version is refused`() {
        Library.check(version)
        val found = thrown<UnsatisfiedLinkError> { Library.check("0.0.1") }
        assertTrue(found.message!!.endsWith("found a native part of version 0.0.1: install it again"))
    }

    @Test
    fun `events of the core`() {
        val events = LinkedBlockingQueue<LogEvent>()
        enableLogging("info") { events.add(it) }
        try {
            Emulator("--knob", "debug").use { emulator ->
                thrown<DebugMode> { emulator.connect() }
            }
            while (true) {
                val event = events.poll(60, TimeUnit.SECONDS) ?: throw AssertionError("no event about the refusal")
                assertTrue(event.level in listOf("info", "warn", "error"))
                if (event.fields.toString().contains("debug-mode")) break
            }
        } finally {
            disableLogging()
        }
        thrown<AttestationException.Misconfigured> { enableLogging("loud") {} }
    }

    @Test
    fun json() {
        val text = """{"a":[1,-2.5,18446744073709551615,true,null],"b":"\"\\\u00e4\n"}"""
        val found = Json.parse(text) as Map<*, *>
        assertEquals(listOf(1L, "-2.5".toBigDecimal(), "18446744073709551615".toBigInteger(), true, null), found["a"])
        assertEquals("\"\\ä\n", found["b"])
        assertEquals(found, Json.parse(Json.write(found)))
        for (wrong in listOf("", "{", "[1", "{\"a\"}", "tru", "1 2", "\"a", "\"\\x\"")) {
            thrown<IllegalArgumentException> { Json.parse(wrong) }
        }
        thrown<AttestationException.Misconfigured> { Json.write(mapOf("a" to 0.5)) }
    }
}
