package tests

import blindbox.attestation.Request
import org.junit.Assert.assertNotNull
import org.junit.Test
import java.nio.file.Files
import java.nio.file.Path

class MemoryTest {
    /** The memory of this process outside of the heap of the JVM, roughly: what is resident less what the heap has, in MiB. */
    private fun outside(): Long {
        System.gc()
        val resident = Files.readAllLines(Path.of("/proc/self/status")).first { it.startsWith("VmRSS:") }
        return (resident.filter(Char::isDigit).toLong() shr 10) - (Runtime.getRuntime().totalMemory() shr 20)
    }

    @Test
    fun `10,000 requests leave nothing behind`() {
        if (!Files.exists(Path.of("/proc/self/status"))) return
        Emulator().use { emulator ->
            emulator.connect().use { session ->
                fun round(count: Int) = repeat(count) { number ->
                    session.get("/").text()
                    session.post("/echo", "x".repeat(1000)).text()
                    session.send(Request("POST", "/echo").body("x".repeat(1000).byteInputStream())).close()
                    if (number % 20 < 2) {
                        // Half of them are given up.
                        val large = session.get("/large?bytes=100000")
                        if (number % 20 == 0) large.bytes() else large.close()
                    }
                }
                round(800)
                // What leaks grows in every round. The compilers of the JVM, which lag behind on a busy machine, do not.
                val grown = generateSequence {
                    val before = outside()
                    round(2500)
                    outside() - before
                }.take(3).firstOrNull { it < 30 }
                assertNotNull("30 MiB or more in each round", grown)
            }
        }
    }
}
