package blindbox.attestation

import blindbox.attestation.ffi.Failure
import java.io.IOException

/** What is known of a failure. */
internal class Facts(
    val code: String,
    val number: Int,
    val category: String,
    val retryable: Boolean,
    val requestSent: Boolean,
    val message: String,
    val appraisal: String?,
)

/**
 * The reason why there is no attested connection, or why a request failed. [code] and [number] never change between releases.
 *
 * There is a class for each code, such as `DebugMode`, below that of its category. It is an [IOException], as the failures of TLS are:
 * a retry that repeats every one must look at [retryable] and [requestSent].
 */
public sealed class AttestationException private constructor(facts: Facts) : IOException(facts.message) {
    /** The frozen code, such as `debug-mode`. */
    public val code: String = facts.code

    /** The frozen number, such as 101. */
    public val number: Int = facts.number

    /** `rejected`, `untrusted`, `unavailable`, `misconfigured` or `internal`. */
    public val category: String = facts.category

    /**
     * Whether the same call may succeed later without any change of settings or deployment. It does not say that a request may be
     * repeated: that depends on [requestSent].
     */
    public val retryable: Boolean = facts.retryable

    /** Whether the application may have received the request that failed. If so, repeat it only if processing it twice does no harm. */
    public val requestSent: Boolean = facts.requestSent

    private val checks: String? = facts.appraisal

    /**
     * Every check, if the evidence is genuine and was appraised; otherwise `null`. It holds values that identify a machine, and is part
     * neither of the message nor of what is printed.
     */
    public val appraisal: List<Check>? get() = checks?.let { checksOf(Json.parse(it)) }

    /** The evidence is genuine, but the policy does not accept it. */
    public open class Rejected internal constructor(facts: Facts) : AttestationException(facts)

    /** The evidence is not genuine or not about this peer. Assume an attack. */
    public open class Untrusted internal constructor(facts: Facts) : AttestationException(facts)

    /** Attestation or a request could not be completed; nothing is known about the peer. */
    public open class Unavailable internal constructor(facts: Facts) : AttestationException(facts)

    /** Settings or arguments of the caller are wrong. */
    public open class Misconfigured internal constructor(facts: Facts) : AttestationException(facts)

    /** A fault of this library: nothing was verified. */
    public open class Internal internal constructor(facts: Facts) : AttestationException(facts)
}

/** One check of an appraisal. [toString] has its name and verdict alone. */
public class Check internal constructor(
    public val name: String,
    /** `passed`, `allowed`, `failed` or `not-evaluated`. */
    public val verdict: String,
    public val expected: String?,
    public val actual: String?,
    public val why: String?,
) {
    override fun toString(): String = "$name: $verdict"
}

internal fun checksOf(appraisal: Any?): List<Check> = (appraisal as List<*>).map { check ->
    check as Map<*, *>
    fun text(name: String) = check[name] as String?
    Check(text("name")!!, text("verdict")!!, text("expected"), text("actual"), text("why"))
}

/** The exception of facts. A code that is not known, of a newer core, gets the class of its category. */
internal fun exception(facts: Facts): AttestationException = ofCode(facts) ?: when (facts.category) {
    "rejected" -> AttestationException.Rejected(facts)
    "untrusted" -> AttestationException.Untrusted(facts)
    "unavailable" -> AttestationException.Unavailable(facts)
    "misconfigured" -> AttestationException.Misconfigured(facts)
    else -> AttestationException.Internal(facts)
}

internal fun exception(failure: Failure, cause: Throwable? = null): AttestationException {
    val (code, number, category, retryable, requestSent, message, appraisal) = failure
    val made = exception(Facts(code, number, category, retryable, requestSent, message, appraisal))
    return made.apply { cause?.let(::initCause) }
}

/** The exception of an argument that cannot be used. */
internal fun argument(reason: String): AttestationException =
    exception(Facts("misconfigured", 404, "misconfigured", false, false, "misconfigured: $reason", null))

internal fun internal(reason: String): AttestationException =
    exception(Facts("internal", 902, "internal", false, true, "internal error, nothing was verified: $reason", null))
