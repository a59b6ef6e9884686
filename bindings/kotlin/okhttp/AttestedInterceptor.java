package blindbox.attestation.okhttp;

import blindbox.attestation.AttestationException;
import blindbox.attestation.Request;
import blindbox.attestation.Session;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.util.Objects;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import okhttp3.Call;
import okhttp3.Headers;
import okhttp3.Interceptor;
import okhttp3.MediaType;
import okhttp3.Protocol;
import okhttp3.RequestBody;
import okhttp3.Response;
import okhttp3.ResponseBody;
import okio.BufferedSink;
import okio.BufferedSource;
import okio.Okio;

/**
 * Sends every request of an {@code OkHttpClient} through an attested session. Add it as the last application interceptor
 * ({@code addInterceptor}): it never calls {@code chain.proceed}, so that OkHttp opens no connection of its own, and neither its
 * redirects nor its retries run.
 *
 * <p>A request to another origin than that of the session is refused before anything is sent. Redirects are responses. Of the client's
 * limits of time, {@code callTimeout} holds; the others are about connections that OkHttp does not open.
 *
 * <p>It is written in Java, so that it works with OkHttp 3, 4 and 5, whose interfaces for Java are the same.
 */
public final class AttestedInterceptor implements Interceptor {
    /** How often a call that waits looks whether it was cancelled: OkHttp does not notify an interceptor. */
    private static final long INTERVAL_MS = 50;

    private final Session session;

    /** Creates an interceptor over a session, which stays the caller's to close. */
    public AttestedInterceptor(Session session) {
        this.session = Objects.requireNonNull(session, "session");
    }

    @Override
    public Response intercept(Chain chain) throws IOException {
        okhttp3.Request request = chain.request();
        long sentAt = System.currentTimeMillis();
        blindbox.attestation.Response response = await(chain.call(), session.sendAsync(converted(request)));
        Headers.Builder headers = new Headers.Builder();
        for (String name : response.getHeaders().getNames()) {
            for (String value : response.getHeaders().all(name)) {
                headers.addUnsafeNonAscii(name, value);
            }
        }
        return new Response.Builder()
                .request(request)
                .protocol(response.getVersion().equals("HTTP/2") ? Protocol.HTTP_2 : Protocol.HTTP_1_1)
                .code(response.getStatus())
                .message("")
                .headers(headers.build())
                .body(new Body(chain.call(), response))
                .sentRequestAtMillis(sentAt)
                .receivedResponseAtMillis(System.currentTimeMillis())
                .build();
    }

    private static Request converted(okhttp3.Request request) {
        // A URL: the core compares its origin with that of the session.
        Request converted = new Request(request.method(), request.url().toString());
        Headers headers = request.headers();
        for (int at = 0; at < headers.size(); at++) {
            converted.header(headers.name(at), headers.value(at));
        }
        RequestBody body = request.body();
        if (body != null) {
            if (body.contentType() != null && headers.get("Content-Type") == null) {
                converted.header("content-type", body.contentType().toString());
            }
            converted.body(length(body), output -> {
                BufferedSink sink = Okio.buffer(Okio.sink(output));
                body.writeTo(sink);
                sink.flush();
            });
        }
        return converted;
    }

    private static long length(RequestBody body) {
        try {
            return body.contentLength();
        } catch (IOException unknown) {
            // Writing it fails too, and says why.
            return -1;
        }
    }

    /** Waits for the outcome of a call, or until OkHttp has cancelled it. */
    private static <T> T await(Call call, CompletableFuture<T> future) throws IOException {
        try {
            while (true) {
                if (call.isCanceled()) {
                    future.cancel(true);
                    throw new IOException("Canceled");
                }
                try {
                    return future.get(INTERVAL_MS, TimeUnit.MILLISECONDS);
                } catch (TimeoutException waiting) {
                    continue;
                }
            }
        } catch (InterruptedException interrupted) {
            future.cancel(true);
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted");
        } catch (CancellationException cancelled) {
            throw new IOException("Canceled", cancelled);
        } catch (ExecutionException failed) {
            if (failed.getCause() instanceof AttestationException) {
                throw (AttestationException) failed.getCause();
            }
            throw new IOException(failed.getCause());
        }
    }

    /** The body of a response, as it is pulled. */
    private static final class Body extends ResponseBody {
        private final blindbox.attestation.Response response;
        private final BufferedSource source;

        Body(Call call, blindbox.attestation.Response response) {
            this.response = response;
            this.source = Okio.buffer(Okio.source(new Pieces(call, response)));
        }

        @Override
        public MediaType contentType() {
            String type = response.getHeaders().get("content-type");
            return type == null ? null : MediaType.parse(type);
        }

        @Override
        public long contentLength() {
            try {
                String length = response.getHeaders().get("content-length");
                return length == null ? -1 : Long.parseLong(length);
            } catch (NumberFormatException unknown) {
                return -1;
            }
        }

        @Override
        public BufferedSource source() {
            return source;
        }
    }

    /** Pulls pieces until OkHttp has cancelled the call. */
    private static final class Pieces extends InputStream {
        private final Call call;
        private final blindbox.attestation.Response response;
        private byte[] piece = new byte[0];
        private int at;

        Pieces(Call call, blindbox.attestation.Response response) {
            this.call = call;
            this.response = response;
        }

        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] bytes, int from, int length) throws IOException {
            if (length == 0) {
                return 0;
            }
            while (at == piece.length) {
                byte[] next = await(call, response.chunkAsync());
                if (next == null) {
                    return -1;
                }
                piece = next;
                at = 0;
            }
            int taken = Math.min(length, piece.length - at);
            System.arraycopy(piece, at, bytes, from, taken);
            at += taken;
            return taken;
        }

        @Override
        public void close() {
            response.close();
        }
    }
}
