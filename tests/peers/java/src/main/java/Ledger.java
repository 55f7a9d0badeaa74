import io.modelcontextprotocol.json.McpJsonDefaults;
import io.modelcontextprotocol.server.McpServer;
import io.modelcontextprotocol.server.McpServer.SyncSpecification;
import io.modelcontextprotocol.server.transport.HttpServletStreamableServerTransportProvider;
import io.modelcontextprotocol.server.transport.StdioServerTransportProvider;
import io.modelcontextprotocol.spec.McpSchema;
import java.net.InetAddress;
import java.nio.file.Files;
import java.util.Map;
import org.apache.catalina.startup.Tomcat;

/** A ledger over the Java MCP SDK: {@code --stdio}, or Streamable HTTP on a port that is printed. */
public class Ledger {
  public static void main(String[] arguments) throws Exception {
    if (arguments.length > 0 && arguments[0].equals("--stdio")) {
      describe(McpServer.sync(new StdioServerTransportProvider(McpJsonDefaults.getMapper()))).build();
      Thread.currentThread().join();
    }
    var transport = HttpServletStreamableServerTransportProvider.builder().mcpEndpoint("/mcp").build();
    describe(McpServer.sync(transport)).build();

    var tomcat = new Tomcat();
    var base = Files.createTempDirectory("ledger").toString();
    tomcat.setBaseDir(base);
    tomcat.setPort(0);
    tomcat.getConnector().setProperty("address", InetAddress.getLoopbackAddress().getHostAddress());
    var context = tomcat.addContext("", base);
    var servlet = Tomcat.addServlet(context, "mcp", transport);
    servlet.setAsyncSupported(true);
    context.addServletMappingDecoded("/*", "mcp");
    tomcat.start();
    System.out.println("http://127.0.0.1:" + tomcat.getConnector().getLocalPort() + "/mcp");
    tomcat.getServer().await();
  }

  private static SyncSpecification<?> describe(SyncSpecification<?> server) {
    return server
        .serverInfo("java-ledger", "1")
        .capabilities(McpSchema.ServerCapabilities.builder().tools(true).build())
        .toolCall(tool("read_balance"), (exchange, call) -> text("42"))
        .toolCall(tool("drop_ledger"), (exchange, call) -> text("dropped"));
  }

  private static McpSchema.Tool tool(String name) {
    return McpSchema.Tool.builder()
        .name(name)
        .description(name)
        .inputSchema(Map.of("type", "object", "properties", Map.of()))
        .build();
  }

  private static McpSchema.CallToolResult text(String text) {
    return McpSchema.CallToolResult.builder().addTextContent(text).build();
  }
}
