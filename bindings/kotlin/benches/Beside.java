import blindbox.attestation.Policy;
import blindbox.attestation.Request;
import blindbox.attestation.Session;
import blindbox.attestation.Verifier;
import blindbox.attestation.okhttp.AttestedInterceptor;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;
import okhttp3.OkHttpClient;
import okhttp3.RequestBody;

/**
 * Compares a session, and OkHttp over a session, with OkHttp and the client of the JDK, to the same emulated application.
 *
 * <p>Each client keeps its connection. They take turns in one run, so that what else the machine does meets all of them; the ratio of the
 * medians is the result that transfers to other machines.
 */
public final class Beside {
    private static final byte[] MEGABYTE = new byte[1 << 20];

    /** What is measured: how often a turn repeats it, what is sent, and how many bytes come back. */
    private enum Kind {
        GET("GET, 21 bytes", "GET", "/", null, 50, 21),
        DOWN("1 MB down", "GET", "/large?bytes=" + MEGABYTE.length, null, 4, MEGABYTE.length),
        BOTH("1 MB up and down", "POST", "/echo", MEGABYTE, 4, MEGABYTE.length);

        final String label;
        final String method;
        final String target;
        final byte[] body;
        final int repeats;
        final int size;

        Kind(String label, String method, String target, byte[] body, int repeats, int size) {
            this.label = label;
            this.method = method;
            this.target = target;
            this.body = body;
            this.repeats = repeats;
            this.size = size;
        }
    }

    /** Sends a request of a kind, and reads its response: the number of bytes. */
    private interface Client {
        int send(Kind kind) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        int rounds = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 60;
        String url = System.getenv("BLINDBOX_URL");
        Path root = Path.of(System.getenv("BLINDBOX_APPLICATION_ROOT"));
        Arrays.fill(MEGABYTE, (byte) 'x');
        Verifier verifier = Verifier.builder()
                .applicationRoots(root)
                .collateralRoots(Path.of(System.getenv("BLINDBOX_COLLATERAL_ROOT")))
                .build();
        try (Session session = verifier.connect(url, Policy.fromFile(Path.of(System.getenv("BLINDBOX_POLICY"))))) {
            report(measured(clients(session, url, trusting(root)), rounds));
        }
        System.exit(0);
    }

    private static Map<String, Client> clients(Session session, String url, TrustManagerFactory roots) throws Exception {
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(null, roots.getTrustManagers(), null);
        X509TrustManager trust = (X509TrustManager) roots.getTrustManagers()[0];
        OkHttpClient plain = new OkHttpClient.Builder().sslSocketFactory(tls.getSocketFactory(), trust).build();
        OkHttpClient attested = new OkHttpClient.Builder().addInterceptor(new AttestedInterceptor(session)).build();
        HttpClient jdk = HttpClient.newBuilder().sslContext(tls).build();
        Map<String, Client> clients = new LinkedHashMap<>();
        clients.put("Session", kind -> {
            Request request = new Request(kind.method, kind.target);
            if (kind.body != null) {
                request.body(kind.body);
            }
            try (var response = session.send(request)) {
                return response.bytes().length;
            }
        });
        clients.put("OkHttp, attested", kind -> send(attested, url, kind));
        clients.put("OkHttp", kind -> send(plain, url, kind));
        clients.put("HttpClient of the JDK", kind -> {
            var body = kind.body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofByteArray(kind.body);
            HttpRequest request = HttpRequest.newBuilder(URI.create(url + kind.target)).method(kind.method, body).build();
            return jdk.send(request, HttpResponse.BodyHandlers.ofByteArray()).body().length;
        });
        return clients;
    }

    private static int send(OkHttpClient client, String url, Kind kind) throws IOException {
        RequestBody body = kind.body == null ? null : RequestBody.create(null, kind.body);
        okhttp3.Request request = new okhttp3.Request.Builder().url(url + kind.target).method(kind.method, body).build();
        try (okhttp3.Response response = client.newCall(request).execute()) {
            return response.body().bytes().length;
        }
    }

    private static TrustManagerFactory trusting(Path root) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream pem = Files.newInputStream(root)) {
            store.setCertificateEntry("root", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory roots = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        roots.init(store);
        return roots;
    }

    /** The median times, in nanoseconds, by client and kind. */
    private static Map<String, long[]> measured(Map<String, Client> clients, int rounds) throws Exception {
        Map<String, List<List<Long>>> times = new LinkedHashMap<>();
        for (String name : clients.keySet()) {
            times.put(name, new ArrayList<>());
            for (Kind kind : Kind.values()) {
                times.get(name).add(new ArrayList<>());
            }
        }
        List<String> names = new ArrayList<>(clients.keySet());
        for (int turn = 0; turn < rounds; turn++) {
            // In another order each time.
            for (int at = 0; at < names.size(); at++) {
                String name = names.get((at + turn) % names.size());
                for (Kind kind : Kind.values()) {
                    for (int count = 0; count < kind.repeats; count++) {
                        long began = System.nanoTime();
                        int found = clients.get(name).send(kind);
                        long took = System.nanoTime() - began;
                        if (found != kind.size) {
                            throw new IllegalStateException(name + ", " + kind.label + ": expected " + kind.size + " bytes, found " + found);
                        }
                        // The first half of the turns is for the compiler of the JVM.
                        if (turn >= rounds / 2) {
                            times.get(name).get(kind.ordinal()).add(took);
                        }
                    }
                }
            }
        }
        Map<String, long[]> medians = new LinkedHashMap<>();
        times.forEach((name, lists) -> medians.put(name, lists.stream().mapToLong(Beside::median).toArray()));
        return medians;
    }

    private static long median(List<Long> times) {
        long[] sorted = times.stream().mapToLong(Long::longValue).sorted().toArray();
        return (sorted[(sorted.length - 1) / 2] + sorted[sorted.length / 2]) / 2;
    }

    private static void report(Map<String, long[]> medians) {
        System.out.printf("%-25s", "");
        for (Kind kind : Kind.values()) {
            System.out.printf("%26s", kind.label);
        }
        System.out.println();
        medians.forEach((name, times) -> {
            System.out.printf("%-25s", name);
            for (long time : times) {
                System.out.printf("%26s", time / 1000 + " us");
            }
            System.out.println();
        });
        System.out.println();
        String[][] pairs = {{"Session", "OkHttp"}, {"Session", "HttpClient of the JDK"}, {"OkHttp, attested", "OkHttp"}};
        for (String[] pair : pairs) {
            for (Kind kind : Kind.values()) {
                double ratio = (double) medians.get(pair[0])[kind.ordinal()] / medians.get(pair[1])[kind.ordinal()];
                System.out.printf("%-60s %5.2f%n", pair[0] + " / " + pair[1] + ", " + kind.label, ratio);
            }
        }
    }
}
