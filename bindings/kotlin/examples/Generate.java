import blindbox.attestation.AttestationException;
import blindbox.attestation.Policy;
import blindbox.attestation.Request;
import blindbox.attestation.Response;
import blindbox.attestation.Session;
import blindbox.attestation.Verifier;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;

/**
 * Connects to an attested BlindBox, posts a prompt to /generate, and prints the response, or why there is no connection.
 *
 * <pre>java Generate URL POLICY [APPLICATION_ROOT COLLATERAL_ROOT]</pre>
 *
 * The two files are the roots of {@code blindbox-attest emulate}; without them the web's roots are used.
 */
public final class Generate {
    public static void main(String[] arguments) throws IOException {
        if (arguments.length != 2 && arguments.length != 4) {
            System.err.println("usage: Generate URL POLICY [APPLICATION_ROOT COLLATERAL_ROOT]");
            System.exit(2);
        }
        Policy policy = Policy.fromFile(Path.of(arguments[1]));
        Verifier.Builder settings = Verifier.builder().deadline(Duration.ofMinutes(1));
        if (arguments.length == 4) {
            settings.applicationRoots(Path.of(arguments[2])).collateralRoots(Path.of(arguments[3]));
        }
        try (Session session = settings.build().connect(arguments[0], policy);
                Response response = session.send(new Request("POST", "/generate").json("{\"prompt\": \"hi\"}"))) {
            System.out.println("status " + response.getStatus());
            response.getBody().transferTo(System.out);
            System.out.println();
        } catch (AttestationException refused) {
            System.out.println(refused.getClass().getSimpleName());
            System.err.println(refused.getCode() + " (" + refused.getNumber() + "): " + refused.getMessage());
            if (refused.getAppraisal() != null) {
                refused.getAppraisal().stream()
                        .filter(check -> check.getVerdict().equals("failed"))
                        .forEach(check -> System.err.println(check.getName() + ": expected " + check.getExpected() + ", found " + check.getActual()));
            }
        }
    }
}
