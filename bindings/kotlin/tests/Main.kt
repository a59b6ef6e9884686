package tests

import org.junit.runner.Description
import org.junit.runner.JUnitCore
import org.junit.runner.notification.Failure
import org.junit.runner.notification.RunListener
import kotlin.system.exitProcess

/** Runs test classes, and prints a line for each test and the sum. */
fun main(classes: Array<String>) {
    val tests = JUnitCore()
    tests.addListener(object : RunListener() {
        private var begun = 0L
        private var failed = false

        override fun testStarted(test: Description) {
            begun = System.nanoTime()
            failed = false
        }

        override fun testFailure(failure: Failure) {
            failed = true
            println("FAILED ${failure.testHeader}\n${failure.trimmedTrace}")
        }

        override fun testFinished(test: Description) {
            val took = (System.nanoTime() - begun) / 1_000_000
            if (!failed) println("ok ${test.testClass.simpleName}: ${test.methodName} ($took ms)")
        }
    })
    val result = tests.run(*classes.map { Class.forName("tests.$it") }.toTypedArray())
    println("${result.runCount - result.failureCount} passed, ${result.failureCount} failed")
    exitProcess(if (result.wasSuccessful()) 0 else 1)
}
