package examples

import blindbox.attestation.AttestationException
import blindbox.attestation.Policy
import blindbox.attestation.Request
import blindbox.attestation.Verifier
import java.nio.file.Path

/**
 * Connects to an attested BlindBox, posts a prompt to /generate, and prints the response, or why there is no connection:
 * `Generate URL POLICY [APPLICATION_ROOT COLLATERAL_ROOT]`. The two files are the roots of `blindbox-attest emulate`.
 */
fun main(arguments: Array<String>) {
    val (url, policy) = arguments
    val settings = Verifier.builder()
    if (arguments.size == 4) {
        settings.applicationRoots(Path.of(arguments[2])).collateralRoots(Path.of(arguments[3]))
    }
    try {
        settings.build().connect(url, Policy.fromFile(Path.of(policy))).use { session ->
            session.send(Request("POST", "/generate").json("""{"prompt": "hi"}""")).use { response ->
                println("status ${response.status}\n${response.text()}")
            }
        }
    } catch (refused: AttestationException) {
        println(refused.javaClass.simpleName)
        System.err.println("${refused.code} (${refused.number}): ${refused.message}")
        refused.appraisal?.filter { it.verdict == "failed" }?.forEach {
            System.err.println("${it.name}: expected ${it.expected}, found ${it.actual}")
        }
    }
}
