package blindbox.attestation

import blindbox.attestation.ffi.Outcome
import blindbox.attestation.ffi.ccePolicy
import blindbox.attestation.ffi.hostData
import blindbox.attestation.ffi.parsePolicy
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException
import java.nio.file.Files
import java.nio.file.Path
import blindbox.attestation.ffi.Policy as NativePolicy

/** The largest file that is read, as in the core. */
private const val MAX_BYTES = 4 shl 20

/** Reads a file of at most 4 MiB. */
internal fun readFile(path: Path): ByteArray {
    val content = Files.newInputStream(path).use { it.readNBytes(MAX_BYTES + 1) }
    if (content.size > MAX_BYTES) throw argument("$path: expected at most $MAX_BYTES bytes")
    return content
}

/** Reads a text file in UTF-8. */
internal fun readText(path: Path): String = try {
    Charsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(readFile(path))).toString().removePrefix("\uFEFF")
} catch (_: CharacterCodingException) {
    throw argument("$path: expected text in UTF-8")
}

/** Something that a policy does not restrict. */
public data class Lint(public val code: String, public val message: String)

/** Host data of a container: the SHA-256 of its CCE policy. */
public class HostData private constructor(described: Map<*, *>) {
    /** Parses 64 hexadecimal digits. */
    @Throws(AttestationException::class)
    public constructor(hex: String) : this(Json.parse(native { made(hostData(hex)) }) as Map<*, *>)

    /** The 64 hexadecimal digits. */
    public val hex: String = described["host_data"] as String

    /** Whether it is the digest of a published CCE policy that allows everything, which requires nothing. */
    public val isKnownAllowAll: Boolean = described["known_allow_all"] as Boolean

    /** What the CCE policy allows that it should not; `null` if only the digest is known. */
    public val findings: List<String>? = (described["findings"] as List<*>?)?.map { it as String }

    override fun toString(): String = hex

    override fun equals(other: Any?): Boolean = other is HostData && hex == other.hex

    override fun hashCode(): Int = hex.hashCode()

    public companion object {
        /** Returns the host data of a container with this CCE policy, in base64 as it is deployed. */
        @JvmStatic
        @Throws(AttestationException::class)
        public fun fromCcePolicy(base64: String): HostData =
            HostData(Json.parse(native { made(ccePolicy(base64)) }) as Map<*, *>)

        /** Returns the host data of a container with the CCE policy in a file, in base64 as it is deployed. */
        @JvmStatic
        @Throws(IOException::class)
        public fun fromCcePolicyFile(path: Path): HostData = fromCcePolicy(readText(path))
    }
}

/** What must be proven. A policy that exists can be used: it was checked when it was made. `docs/policy.md` describes every field. */
public class Policy private constructor(internal val native: NativePolicy) {
    /** Parses a policy file: JSON if it begins with a brace, otherwise TOML. */
    @Throws(AttestationException::class)
    public constructor(text: String) : this(native { taken<Outcome.Parsed>(parsePolicy(text)).policy })

    /** The SHA-256 of the policy: two policies have the same one exactly if they require the same. */
    public val digest: String = native { this.native.digest() }

    /** The trusted MAA instance; `null` under AMD trust alone. */
    public val maaIssuer: String? get() = native { this.native.maaIssuer() }

    /** Returns the policy as TOML. */
    public fun toToml(): String = native { this.native.toToml() }

    /** Returns the policy as JSON. */
    public fun toJson(): String = native { this.native.toJson() }

    /** Returns what the policy does not restrict, the most severe first. */
    public fun lint(): List<Lint> = (Json.parse(native { this.native.lint() }) as List<*>).map { found ->
        found as Map<*, *>
        Lint(found["code"] as String, found["message"] as String)
    }

    override fun toString(): String = toToml()

    override fun equals(other: Any?): Boolean = other is Policy && digest == other.digest

    override fun hashCode(): Int = digest.hashCode()

    public companion object {
        /** Reads a policy file. */
        @JvmStatic
        @Throws(IOException::class)
        public fun fromFile(path: Path): Policy = Policy(readText(path))

        /** Makes a policy from the fields of a policy file: text, numbers, Booleans, lists and maps. */
        @JvmStatic
        @Throws(AttestationException::class)
        public fun fromMap(fields: Map<String, *>): Policy = Policy(Json.write(fields))

        /** Begins a policy for a confidential container. */
        @JvmStatic
        public fun confidentialContainer(): ContainerPolicy = ContainerPolicy()
    }
}

/** What ties a connection to the evidence. */
public enum class Binding(internal val word: String) {
    /** The workload attests only its own TLS key. */
    OWN_KEY("own-key"),

    /** The workload attests each connection. */
    OWN_CONNECTION("own-connection"),

    /** The workload attests only its own key of sealed messages, behind a front end that ends TLS. */
    OWN_MESSAGE_KEY("own-message-key"),

    /** Nothing: [ContainerPolicy.allow] needs `unbound-channel`. */
    NONE("none"),
}

/**
 * A policy for a confidential container as it is put together: [build] makes it. What is given twice is refused by [build], as in a policy
 * file: which of the two holds would depend on their order.
 */
public class ContainerPolicy internal constructor() {
    private val digests = ArrayList<String>()
    private val maa = LinkedHashMap<String, Any>()
    private val uvm = LinkedHashMap<String, Any>()
    private val require = LinkedHashMap<String, Any>()
    private val allow = LinkedHashMap<String, Any>()
    private var amd = false
    private var binding: Binding? = null
    private var repeated: String? = null

    /** Sets the MAA instance that judges the evidence, such as `https://sharedneu.neu.attest.azure.net`. */
    public fun maa(issuer: String): ContainerPolicy = once("maa", maa, "issuer", issuer)

    /** Requires this policy of the MAA instance, by its digest. */
    public fun maaPolicyHash(digest: String): ContainerPolicy = once("maaPolicyHash", maa, "policy-hash", digest)

    /** Accepts an instance of Azure's test ring (`*.test.attest.azure.net`). */
    public fun allowTestAttester(): ContainerPolicy = apply { maa["allow-test-attester"] = true }

    /** Verifies the hardware report down to AMD's root, beside the MAA instance or in its place. */
    public fun amd(): ContainerPolicy = apply { amd = true }

    /** Accepts a container with this host data; each call adds one. */
    public fun hostData(hostData: HostData): ContainerPolicy = hostData(hostData.hex)

    /** Accepts a container with this host data, in hexadecimal; each call adds one. */
    public fun hostData(hex: String): ContainerPolicy = apply { digests += hex }

    /** Sets the minimum security version of the utility VM. */
    public fun minimumSvn(svn: Int): ContainerPolicy = once("minimumSvn", uvm, "minimum-svn", svn)

    /** Sets who endorses the utility VM, if it is not Microsoft. */
    public fun uvmIssuer(issuer: String): ContainerPolicy = once("uvmIssuer", uvm, "issuer", issuer)

    /** Sets what the workload attests: your assertion, which evidence cannot show. */
    public fun binding(asserted: Binding): ContainerPolicy = apply {
        if (binding != null) repeated = "binding"
        binding = asserted
    }

    /** Adds a field of the table `require` of a policy file. */
    public fun require(name: String, value: Any): ContainerPolicy = once("require $name", require, name, value)

    /** Adds a field of the table `allow` of a policy file. */
    public fun allow(name: String): ContainerPolicy = apply { allow[name] = true }

    /** Makes the policy. */
    @Throws(AttestationException::class)
    public fun build(): Policy {
        repeated?.let { throw argument("$it: expected one value, found a second one") }
        val binds = binding
            ?: throw argument("binding: expected one of Binding: an assertion about the workload, which evidence cannot show")
        if (maa.isNotEmpty() && "issuer" !in maa) {
            throw argument("maaPolicyHash and allowTestAttester need maa, the instance that they are about")
        }
        val trust = LinkedHashMap<String, Any>()
        if (maa.isNotEmpty()) trust["maa"] = maa
        if (amd) trust["amd"] = emptyMap<String, Any>()
        val fields = linkedMapOf<String, Any>(
            "version" to 1,
            "kind" to "confidential-container",
            "trust" to trust,
            "workload" to mapOf("binding" to binds.word, "host-data" to digests),
            "uvm" to uvm,
        )
        if (require.isNotEmpty()) fields["require"] = require
        if (allow.isNotEmpty()) fields["allow"] = allow
        return Policy.fromMap(fields)
    }

    private fun once(setting: String, values: MutableMap<String, Any>, key: String, value: Any): ContainerPolicy = apply {
        if (values.put(key, value) != null) repeated = setting
    }
}
