package tests

import blindbox.attestation.*
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test
import java.nio.file.Files
import java.time.Duration

class OfflineTest : EmulatedTest() {
    private fun container() = Policy.confidentialContainer()
        .hostData(emulator.hostData!!)
        .minimumSvn(101)
        .maa("https://sharedneu.neu.attest.azure.net")

    @Test
    fun policies() {
        val policy = emulator.policy
        for (same in listOf(Policy(policy.toToml()), Policy(policy.toJson()), Policy.fromFile(emulator.file("policy.toml")))) {
            assertEquals(policy, same)
            assertEquals(policy.digest, same.digest)
        }
        assertTrue(policy.maaIssuer!!.startsWith("https:"))
        val made = container().binding(Binding.OWN_KEY).build()
        assertNotEquals(policy, made)
        // An assertion that nothing can check is the caller's to make.
        val missing = thrown<AttestationException.Misconfigured> { container().build() }
        assertTrue(missing.message!!.contains("binding: expected"))
        val unbound = container().binding(Binding.NONE).allow("unbound-channel").build()
        assertEquals("channel-not-bound", unbound.lint()[0].code)
        for ((binding, word) in mapOf(Binding.OWN_CONNECTION to "own-connection", Binding.OWN_MESSAGE_KEY to "own-message-key")) {
            assertTrue(container().binding(binding).build().toToml().contains("binding = \"$word\""))
        }
        thrown<AttestationException.Misconfigured> { Policy.confidentialContainer().maaPolicyHash("00").binding(Binding.OWN_KEY).build() }
        thrown<AttestationException.Misconfigured> { container().binding(Binding.OWN_KEY).require("chip-ids", Any()).build() }
        assertTrue(thrown<InvalidPolicy> { Policy("kind = 1") }.message!!.contains("line 1"))
        thrown<InvalidPolicy> { Policy.fromMap(mapOf("versoin" to 1)) }
        thrown<java.nio.file.NoSuchFileException> { Policy.fromFile(emulator.file("nowhere")) }
        Files.write(emulator.file("latin"), byteArrayOf(0xe4.toByte()))
        thrown<AttestationException.Misconfigured> { Policy.fromFile(emulator.file("latin")) }
    }

    @Test
    fun `a requirement that is given twice is refused`() {
        val (issuer, hash) = Pair("https://sharedweu.weu.attest.azure.net", "ab".repeat(32))
        val settings = mapOf<String, (ContainerPolicy) -> Unit>(
            "maa" to { it.maa(issuer) },
            "maaPolicyHash" to { it.maaPolicyHash(hash) },
            "minimumSvn" to { it.minimumSvn(100) },
            "uvmIssuer" to { it.uvmIssuer("did:x509:0:sha256:a::eku:1.2") },
            "binding" to { it.binding(Binding.NONE) },
            "require vm-ids" to { it.require("vm-ids", emptyList<String>()) },
        )
        for ((name, set) in settings) {
            // The same value too: one of the two calls was meant to say something else.
            val twice = Policy.confidentialContainer().also(set).also(set)
            val found = thrown<AttestationException.Misconfigured> { twice.build() }
            assertEquals("misconfigured: $name: expected one value, found a second one", found.message)
        }
        // What adds a value, or only allows something, has no order.
        val again = container().binding(Binding.OWN_KEY).hostData("5a".repeat(32)).allow("debug").allow("debug").build()
        assertEquals(2, Regex("[0-9a-f]{64}").findAll(again.toToml()).count())
    }

    @Test
    fun `host data`() {
        val file = emulator.file("cce-policy.base64")
        val hostData = HostData.fromCcePolicyFile(file)
        assertEquals(emulator.hostData, hostData.hex)
        assertEquals(hostData, HostData.fromCcePolicy(Files.readString(file)))
        assertFalse(hostData.isKnownAllowAll)
        assertNotNull(hostData.findings)
        val known = HostData("73973b78d70cc68353426de188db5dfc57e5b766e399935fb73a61127ea26d20")
        assertTrue(known.isKnownAllowAll)
        assertNull(known.findings)
        thrown<AttestationException.Misconfigured> { HostData("5a") }
        thrown<AttestationException.Misconfigured> { HostData.fromCcePolicy("?") }
    }

    @Test
    fun `recorded evidence`() {
        val policy = emulator.policy
        val evidence = emulator.settings().build().collect(emulator.url, policy)
        val accepted = evidence.verify(policy)
        assertNull(accepted.channel)
        assertTrue(accepted.appraisal.size > 10)
        val (documents, at) = Pair(evidence.documents, evidence.askedAt)
        val keySet = Files.readAllBytes(emulator.file("key-set.json"))
        assertTrue(verifyRecorded(Recording(documents, at, keySet), policy).appraisal.size > 10)
        thrown<KeySetNotAuthenticated> { verifyRecorded(Recording(documents, at), policy) }
        thrown<InvalidToken> { verifyRecorded(Recording(documents, at + Duration.ofDays(3650), keySet), policy) }
        val token = documents["token.jwt"]!!.copyOf().also { it.fill('A'.code.toByte(), it.size - 8) }
        thrown<InvalidToken> { verifyRecorded(Recording(documents + ("token.jwt" to token), at, keySet), policy) }
        thrown<AttestationException.Misconfigured> { verifyRecorded(Recording(mapOf("token.jwx" to token), at), policy) }
        val verified = Recording(documents, at, keySet).verifyUnappraised(policy.maaIssuer)
        assertTrue((verified["claims"] as Map<*, *>)["snp"] is Map<*, *>)
    }

    @Test
    fun inspection() {
        val evidence = emulator.settings().build().collectAsync(emulator.url, emulator.policy).get()
        val found = inspect(evidence.documents["token.jwt"]!!).first()
        assertEquals(Pair("token", false), Pair(found["kind"], found["verified"]))
        assertEquals("key-set", inspect(emulator.file("key-set.json")).first()["kind"])
        thrown<AttestationException.Misconfigured> { inspect("nothing".toByteArray()) }
    }
}
