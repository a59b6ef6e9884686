package blindbox.attestation

import blindbox.attestation.ffi.Collected
import blindbox.attestation.ffi.Document
import blindbox.attestation.ffi.Recorded
import java.time.Instant
import blindbox.attestation.ffi.inspect as nativeInspect
import blindbox.attestation.ffi.verifyRecorded as nativeVerifyRecorded
import blindbox.attestation.ffi.verifyUnappraised as nativeVerifyUnappraised

/** Verified evidence that a policy accepts: claims, checks and times. [toString] is a table for people. */
public class Attestation internal constructor(private val json: String, private val text: String? = null) {
    private val fields = Json.parse(json) as Map<*, *>

    /** The state of the TEE, as in the JSON of the command. */
    @Suppress("UNCHECKED_CAST")
    public val claims: Map<String, Any?> get() = fields["claims"] as Map<String, Any?>

    /** Every check. */
    public val appraisal: List<Check> get() = checksOf(fields["appraisal"])

    /** How the connection is tied to the evidence: `bound`, or an unbound form; `null` for recorded evidence. */
    public val channel: String? get() = fields["channel"] as String?

    /** When it ends. */
    public val expiresAt: Instant get() = Instant.ofEpochSecond((fields["expires_at"] as Number).toLong())

    /** Returns all of it, as in the JSON of the command. It holds values that identify a machine. */
    public fun toJson(): String = json

    override fun toString(): String = text ?: appraisal.joinToString("\n") { "${it.verdict.padEnd(13)}  ${it.name}" }
}

/** Evidence as received, by the names of the files that `blindbox-attest fetch` writes. Nothing of it is verified. */
public class Evidence internal constructor(private val native: Collected) {
    /** The documents by name, such as `token.jwt`. */
    public val documents: Map<String, ByteArray> = native { native.documents().associate { it.name to it.content } }

    /** How and when the peer was asked: an object of JSON. */
    @Suppress("UNCHECKED_CAST")
    public val about: Map<String, Any?> = Json.parse(native { native.about() }) as Map<String, Any?>

    /** When the peer was asked. */
    public val askedAt: Instant get() = Instant.ofEpochSecond((about["asked_at"] as Number).toLong())

    /** Returns the verdict of a policy on the evidence, as a record: it proves nothing about a later connection. */
    @Throws(AttestationException::class)
    public fun verify(policy: Policy): Attestation = Attestation(native { made(native.verify(policy.native)) })
}

/** Recorded evidence: the time of the verdict, and what is known from elsewhere. */
public class Recording @JvmOverloads constructor(
    /** Evidence and what vouches for it, by the names of the files that `blindbox-attest fetch` writes. Other names are refused. */
    private val documents: Map<String, ByteArray>,
    /** The time of the verdict. */
    private val at: Instant,
    /**
     * The key set of the MAA instance, from elsewhere: `key-set.json` among the documents proves nothing, and is used only if the policy
     * pins the key.
     */
    private val keySet: ByteArray? = null,
    /** Roots that replace AMD's, in PEM. */
    private val amdRoots: String? = null,
    /** The root that replaces Azure's root of virtual TPMs, in PEM. */
    private val akRoot: String? = null,
) {
    /** Verifies it and appraises it against a policy. The result proves neither freshness nor whose connection it was. */
    @Throws(AttestationException::class)
    public fun verify(policy: Policy): Attestation =
        Attestation(native { made(nativeVerifyRecorded(recorded(), policy.native, seconds())) })

    /** Verifies it without appraising it: its content is genuine, and nothing says that it is acceptable. */
    @JvmOverloads
    @Suppress("UNCHECKED_CAST")
    @Throws(AttestationException::class)
    public fun verifyUnappraised(maaIssuer: String? = null): Map<String, Any?> =
        Json.parse(native { made(nativeVerifyUnappraised(recorded(), maaIssuer, seconds())) }) as Map<String, Any?>

    private fun seconds(): ULong =
        if (at.epochSecond >= 0) at.epochSecond.toULong() else throw argument("at: expected a time after 1970-01-01, found $at")

    private fun recorded() = Recorded(documents.map { (name, content) -> Document(name, content) }, keySet, amdRoots, akRoot)
}

internal fun inspected(content: ByteArray): List<Map<String, Any?>> {
    @Suppress("UNCHECKED_CAST")
    return Json.parse(native { made(nativeInspect(content)) }) as List<Map<String, Any?>>
}
