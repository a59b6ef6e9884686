package blindbox.attestation

import blindbox.attestation.ffi.Outcome
import blindbox.attestation.ffi.openVerifier
import java.io.IOException
import java.nio.file.Path
import java.time.Duration
import java.util.concurrent.CompletableFuture
import blindbox.attestation.ffi.Verifier as NativeVerifier

/** Opens sessions with attested peers. One verifier serves a whole process: its sessions share keys and certificates. */
public class Verifier private constructor(private val native: NativeVerifier) {
    /** Makes a verifier without settings. */
    @Throws(AttestationException::class)
    public constructor() : this(emptyMap<String, Any>())

    private constructor(settings: Map<String, *>) :
        this(native { taken<Outcome.Opened>(openVerifier(Json.write(settings))).verifier })

    /** Attests the peer behind a URL and opens a session with it, before any application data is sent. */
    @Throws(AttestationException::class)
    public fun connect(url: String, policy: Policy): Session = connected(connecting(url, policy).await())

    /** The same without blocking. Cancelling the future ends the attestation. */
    public fun connectAsync(url: String, policy: Policy): CompletableFuture<Session> =
        connecting(url, policy).future(dispose = Session::close, convert = ::connected)

    /** Collects the evidence of the peer behind a URL without verifying it. Nothing but the attestation request is sent. */
    @Throws(AttestationException::class)
    public fun collect(url: String, policy: Policy): Evidence = collected(collecting(url, policy).await())

    /** The same without blocking. */
    public fun collectAsync(url: String, policy: Policy): CompletableFuture<Evidence> =
        collecting(url, policy).future(convert = ::collected)

    private fun connecting(url: String, policy: Policy) =
        native { engine -> engine.start { calls, id -> native.connect(calls, id, url, policy.native) } }

    private fun collecting(url: String, policy: Policy) =
        native { engine -> engine.start { calls, id -> native.collect(calls, id, url, policy.native) } }

    private fun connected(outcome: Outcome) = Session(taken<Outcome.Connected>(outcome).session)

    private fun collected(outcome: Outcome) = Evidence(taken<Outcome.Gathered>(outcome).evidence)

    public companion object {
        /** Begins a verifier with settings. */
        @JvmStatic
        public fun builder(): Builder = Builder()
    }

    /**
     * Settings of a verifier. None of them relaxes a check. Roots that are given replace the built-in ones; roots and key sets are files,
     * or their content. No variable of the environment and no system property is read. `docs/trust.md` and `docs/faults.md` describe each.
     * A setting that is given twice is refused by [build], and so is a host or a header: which of the two holds would depend on their order.
     */
    public class Builder internal constructor() {
        private val settings = LinkedHashMap<String, Any>()
        private val resolve = LinkedHashMap<String, String>()
        private val frontEndHeaders = LinkedHashMap<String, String>()
        private var repeated: String? = null

        /** Limits one connection with its attestation. */
        public fun deadline(limit: Duration): Builder = set("deadline_ms", milliseconds("deadline", limit))

        /** Limits each request, to the end of the response body. */
        public fun requestTimeout(limit: Duration): Builder = set("request_timeout_ms", milliseconds("requestTimeout", limit))

        /** Replaces the platform's roots for the application's certificate, in PEM. */
        @Throws(IOException::class)
        public fun applicationRoots(file: Path): Builder = applicationRoots(readFile(file))

        /** Replaces the platform's roots for the application's certificate, in PEM. */
        public fun applicationRoots(pem: ByteArray): Builder = set("application_roots", text(pem))

        /** Adds to the platform's roots for the application's certificate, in PEM. */
        @Throws(IOException::class)
        public fun extraApplicationRoots(file: Path): Builder = extraApplicationRoots(readFile(file))

        /** Adds to the platform's roots for the application's certificate, in PEM. */
        public fun extraApplicationRoots(pem: ByteArray): Builder = set("extra_application_roots", text(pem))

        /** Sets the TLS roots for the connections to MAA and AMD's service, in PEM. */
        @Throws(IOException::class)
        public fun collateralRoots(file: Path): Builder = collateralRoots(readFile(file))

        /** Sets the TLS roots for the connections to MAA and AMD's service, in PEM. */
        public fun collateralRoots(pem: ByteArray): Builder = set("collateral_roots", text(pem))

        /** Takes the platform's roots as the TLS roots for the connections to MAA and AMD's service. */
        public fun platformCollateralRoots(): Builder = set("platform_collateral_roots", true)

        /** Pins the key set of the MAA instance. */
        @Throws(IOException::class)
        public fun keySet(file: Path): Builder = keySet(readFile(file))

        /** Pins the key set of the MAA instance. */
        public fun keySet(json: ByteArray): Builder = set("key_set", text(json))

        /** Replaces AMD's roots, in PEM. */
        @Throws(IOException::class)
        public fun amdRoots(file: Path): Builder = amdRoots(readFile(file))

        /** Replaces AMD's roots, in PEM. */
        public fun amdRoots(pem: ByteArray): Builder = set("amd_roots", text(pem))

        /** Replaces Azure's root of virtual TPMs, in PEM. */
        @Throws(IOException::class)
        public fun akRoot(file: Path): Builder = akRoot(readFile(file))

        /** Replaces Azure's root of virtual TPMs, in PEM. */
        public fun akRoot(pem: ByteArray): Builder = set("ak_root", text(pem))

        /** Sets the URL of the attestation agent, if it is not at the application's. */
        public fun agent(url: String): Builder = set("agent", url)

        /** Sets an HTTP proxy. */
        public fun proxy(url: String): Builder = set("proxy", url)

        /** Sets the address (`IP:PORT`) of a host in place of what its name is resolved to. */
        public fun resolve(host: String, address: String): Builder = once("resolve", resolve, host, address)

        /**
         * Adds a header for a front end that ends TLS, such as a key of a gateway: the front end reads it, and the application
         * does not get it.
         */
        public fun frontEndHeader(name: String, value: String): Builder = once("front_end_headers", frontEndHeaders, name, value)

        /** Sets the URL of AMD's key distribution service. */
        public fun kds(url: String): Builder = set("kds", url)

        /** Sets the URL of Azure's certificate cache. */
        public fun thim(url: String): Builder = set("thim", url)

        /** Keeps certificates and CRLs in a directory. */
        public fun cacheDirectory(directory: Path): Builder = set("cache_dir", directory.toString())

        /** Makes the verifier. */
        @Throws(AttestationException::class)
        public fun build(): Verifier {
            repeated?.let { throw argument("settings: expected one value for $it, found a second one") }
            val objects = mapOf("resolve" to resolve, "front_end_headers" to frontEndHeaders)
            return Verifier(settings + objects.filterValues { it.isNotEmpty() })
        }

        private fun set(name: String, value: Any): Builder = once(name, settings, name, value)

        private fun <T> once(setting: String, values: MutableMap<String, T>, key: String, value: T): Builder = apply {
            if (values.put(key, value) != null) repeated = setting
        }

        // DER is not text; the core says what it expects.
        private fun text(content: ByteArray) = content.toString(Charsets.UTF_8)
    }
}

/** A limit of time in milliseconds. */
internal fun milliseconds(name: String, limit: Duration): Long {
    val found = if (limit < Duration.ofDays(36_500)) limit.toMillis() else Long.MAX_VALUE
    if (found !in 1..3_000_000_000_000) throw argument("$name: expected at least a millisecond, found $limit")
    return found
}
