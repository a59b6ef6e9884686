package blindbox.attestation

import blindbox.attestation.ffi.InternalException
import blindbox.attestation.ffi.version as nativeVersion
import com.sun.jna.Native
import com.sun.jna.Platform
import java.io.IOException
import java.nio.charset.CharacterCodingException

/** The version of this package, which its native part must have too. */
internal const val VERSION: String = "0.1.0"

/** The native part: a library in this jar, beside those of JNA. */
internal object Library {
    /** Where UniFFI looks for the path of the library. A program that ships the library elsewhere sets it. */
    private const val PATH = "uniffi.component.blindbox.libraryOverride"

    // Lazily, and not when the class is initialised: a failure is then the same at each use.
    private val loaded: Engine by lazy {
        if (System.getProperty(PATH) == null) {
            System.setProperty(PATH, extracted())
        }
        val found = try {
            nativeVersion()
        } catch (cause: LinkageError) {
            // It lacks a function, or one of its functions has changed.
            throw UnsatisfiedLinkError("blindbox-attestation $VERSION found a native part that is not of this version: install it again")
                .apply { initCause(cause) }
        }
        check(found)
        Engine()
    }

    /** Loads the native part, once, and returns what runs calls on it. */
    fun engine(): Engine = loaded

    // By its path: a library of that name elsewhere in the system is not loaded in its place.
    private fun extracted(): String {
        val resource = "/com/sun/jna/${Platform.RESOURCE_PREFIX}/${System.mapLibraryName("blindbox_uniffi")}"
        try {
            return Native.extractFromResourcePath(resource, Library::class.java.classLoader).absolutePath
        } catch (cause: IOException) {
            throw UnsatisfiedLinkError("blindbox-attestation: expected a native part for this platform at $resource of the class path")
                .apply { initCause(cause) }
        }
    }

    /** Refuses a native part of another version. */
    fun check(found: String) {
        if (found != VERSION) {
            throw UnsatisfiedLinkError("blindbox-attestation $VERSION found a native part of version $found: install it again")
        }
    }
}

/** Calls the native part. */
internal inline fun <T> native(work: (Engine) -> T): T {
    val engine = Library.engine()
    try {
        return work(engine)
    } catch (panic: InternalException) {
        // What a panic says is not repeated: it may hold anything.
        throw internal("it panicked; please report what standard error says")
    } catch (_: CharacterCodingException) {
        // UniFFI encodes every string before it calls anything.
        throw argument("expected text, found half of a surrogate pair")
    }
}
