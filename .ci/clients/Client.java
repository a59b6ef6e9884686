import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.List;

/** Java's default client, which offers h2c, through the proxy: a request and a stream. */
class Client {
    static final String BASE = System.getenv("BLINDBOX_PROXY") + "/v1";
    static final HttpClient CLIENT = HttpClient.newHttpClient();

    static HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create(BASE + path))
            .header("Authorization", "Bearer " + System.getenv("BLINDBOX_ACCESS_TOKEN"));
    }

    static void check(Object expected, Object found) {
        if (!expected.equals(found)) throw new AssertionError("expected " + expected + ", found " + found);
    }

    public static void main(String[] arguments) throws Exception {
        var post = request("/echo").POST(HttpRequest.BodyPublishers.ofString("hello")).build();
        var echo = CLIENT.send(post, BodyHandlers.ofString());
        check("200 {\"text\": \"hello\"}", echo.statusCode() + " " + echo.body());

        var stream = CLIENT.send(request("/events?stream=java").build(), BodyHandlers.ofLines());
        var lines = stream.body().iterator();
        check("data: 1", lines.next());
        check(200, CLIENT.send(request("/go?stream=java").build(), BodyHandlers.ofString()).statusCode());
        var rest = new java.util.ArrayList<String>();
        lines.forEachRemaining(line -> { if (!line.isEmpty()) rest.add(line); });
        check(List.of("data: 2", "data: 3"), rest);
    }
}
