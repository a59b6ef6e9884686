package blindbox.attestation

import java.math.BigDecimal
import java.math.BigInteger

/** JSON of the core, and for it: objects are maps in their order, arrays lists. It saves every user a library that they did not choose. */
internal object Json {
    fun parse(text: String): Any? = Reader(text).run {
        val value = value()
        blanks()
        if (at != text.length) throw wrong("its end")
        value
    }

    fun write(value: Any?): String = StringBuilder().also { write(value, it) }.toString()

    private class Reader(val text: String) {
        var at = 0

        fun wrong(expected: String) = IllegalArgumentException("JSON: expected $expected at offset $at")

        fun blanks() {
            while (at < text.length && text[at] in " \t\r\n") at++
        }

        fun next(): Char = if (at < text.length) text[at] else throw wrong("more")

        fun take(c: Char): Boolean {
            blanks()
            return (at < text.length && text[at] == c).also { if (it) at++ }
        }

        fun value(): Any? {
            blanks()
            return when (next()) {
                '{' -> members()
                '[' -> elements()
                '"' -> string()
                't' -> word("true", true)
                'f' -> word("false", false)
                'n' -> word("null", null)
                else -> number()
            }
        }

        fun word(word: String, value: Any?): Any? {
            if (!text.startsWith(word, at)) throw wrong("a value")
            at += word.length
            return value
        }

        fun members(): Map<String, Any?> {
            at++
            val members = LinkedHashMap<String, Any?>()
            if (take('}')) return members
            do {
                blanks()
                if (next() != '"') throw wrong("a name")
                val name = string()
                if (!take(':')) throw wrong("a colon")
                members[name] = value()
            } while (take(','))
            if (!take('}')) throw wrong("a closing brace")
            return members
        }

        fun elements(): List<Any?> {
            at++
            val elements = ArrayList<Any?>()
            if (take(']')) return elements
            do elements += value() while (take(','))
            if (!take(']')) throw wrong("a closing bracket")
            return elements
        }

        fun string(): String {
            at++
            val made = StringBuilder()
            while (true) {
                when (val c = next().also { at++ }) {
                    '"' -> return made.toString()
                    '\\' -> made.append(escaped())
                    else -> made.append(c)
                }
            }
        }

        fun escaped(): Char = when (val c = next().also { at++ }) {
            '"', '\\', '/' -> c
            'b' -> '\b'
            'f' -> '\u000c'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> {
                val digits = text.substring(at, minOf(at + 4, text.length))
                at += 4
                digits.toIntOrNull(16)?.toChar() ?: throw wrong("four hexadecimal digits")
            }
            else -> throw wrong("an escape")
        }

        fun number(): Number {
            val from = at
            while (at < text.length && text[at] in "0123456789+-.eE") at++
            val digits = text.substring(from, at)
            return digits.toLongOrNull() ?: digits.toBigIntegerOrNull() ?: digits.toBigDecimalOrNull() ?: throw wrong("a value")
        }
    }

    private fun write(value: Any?, to: StringBuilder) {
        when (value) {
            null, is Boolean, is Int, is Long, is BigInteger, is BigDecimal -> to.append(value)
            is CharSequence, is HostData -> quote(value.toString(), to)
            is Map<*, *> -> joined('{', '}', value.entries, to) { (name, member) ->
                quote(name as? String ?: throw argument("JSON: expected text as the name of a member"), to)
                to.append(':')
                write(member, to)
            }
            is Iterable<*> -> joined('[', ']', value, to) { write(it, to) }
            // Not left out: a requirement would be left out with it.
            else -> throw argument("expected text, a number, a Boolean, a list or a map, found ${value.javaClass.name}")
        }
    }

    private fun <T> joined(open: Char, close: Char, parts: Iterable<T>, to: StringBuilder, each: (T) -> Unit) {
        to.append(open)
        parts.forEachIndexed { index, part ->
            if (index > 0) to.append(',')
            each(part)
        }
        to.append(close)
    }

    private fun quote(text: String, to: StringBuilder) {
        to.append('"')
        for (c in text) {
            when {
                c == '"' || c == '\\' -> to.append('\\').append(c)
                c < ' ' -> to.append("\\u%04x".format(c.code))
                else -> to.append(c)
            }
        }
        to.append('"')
    }
}
