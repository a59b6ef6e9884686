package tests

import blindbox.attestation.Session
import org.junit.After
import org.junit.AfterClass
import org.junit.BeforeClass

/** Tests with one emulator, and a session with it, for a whole class. Each begins without knobs and faults. */
abstract class EmulatedTest {
    @After
    fun reset() {
        emulator.order("reset")
    }

    companion object {
        lateinit var emulator: Emulator
        lateinit var session: Session

        @JvmStatic
        @BeforeClass
        fun start() {
            emulator = Emulator()
            session = emulator.connect()
        }

        @JvmStatic
        @AfterClass
        fun stop() {
            session.close()
            emulator.close()
        }
    }
}
