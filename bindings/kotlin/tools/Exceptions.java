import blindbox.attestation.ffi.BlindboxKt;
import blindbox.attestation.ffi.Code;
import java.util.Map;

/** Prints one exception class in Kotlin for each code of the core, below that of its category, and the function that makes them. */
class Exceptions {
    private static final Map<String, String> BASES = Map.of(
            "rejected", "Rejected",
            "untrusted", "Untrusted",
            "unavailable", "Unavailable",
            "misconfigured", "Misconfigured");

    public static void main(String[] arguments) {
        StringBuilder classes = new StringBuilder();
        StringBuilder cases = new StringBuilder();
        for (Code code : BlindboxKt.codes()) {
            String base = BASES.getOrDefault(code.getCategory(), "Internal");
            if (code.getName().equals(base)) {
                continue;
            }
            classes.append("""

                    /** `%s` (%d), %s: see `docs/errors.md`. */
                    public class %s internal constructor(facts: Facts) : AttestationException.%s(facts)
                    """.formatted(code.getCode(), code.getNumber(), code.getCategory(), code.getName(), base));
            cases.append("    \"%s\" -> %s(facts)\n".formatted(code.getCode(), code.getName()));
        }
        System.out.print("""
                // Generated from the codes of the core.

                package blindbox.attestation
                %s
                /** The exception of a code; `null` for one that is not known, or that has only the class of its category. */
                internal fun ofCode(facts: Facts): AttestationException? = when (facts.code) {
                %s    else -> null
                }
                """.formatted(classes, cases));
    }
}
