import com.microsoft.sqlserver.jdbc.SQLServerBulkCSVFileRecord;
import com.microsoft.sqlserver.jdbc.SQLServerBulkCopy;
import com.microsoft.sqlserver.jdbc.SQLServerConnection;
import com.microsoft.sqlserver.jdbc.SQLServerResultSet;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ParameterMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;

/** Microsoft's JDBC driver, driven by lines: see clients.ts. */
public final class JdbcClient {
  private static Connection connection;

  public static void main(String[] arguments) throws Exception {
    var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      var words = new ArrayList<String>();
      for (String word : line.split(" ", -1)) words.add(URLDecoder.decode(word, StandardCharsets.UTF_8));
      String answer;
      try {
        answer = run(words.get(0), words.subList(1, words.size()));
      } catch (SQLException error) {
        answer = "{\"error\":" + error.getErrorCode() + ",\"message\":" + quoted(error.getMessage()) + "}";
      } catch (Exception error) {
        answer = "{\"error\":-1,\"message\":" + quoted(error.toString()) + "}";
      }
      System.out.println(answer);
      System.out.flush();
    }
  }

  private static String run(String verb, List<String> words) throws Exception {
    switch (verb) {
      case "connect": {
        if (connection != null) connection.close();
        connection = null;
        var properties = new Properties();
        for (String word : words.subList(1, words.size())) {
          int at = word.indexOf('=');
          properties.setProperty(word.substring(0, at), word.substring(at + 1));
        }
        connection = DriverManager.getConnection(words.get(0), properties);
        return "{}";
      }
      case "close":
        connection.close();
        return "{}";
      case "run":
        try (Statement statement = connection.createStatement()) {
          return results(statement, statement.execute(words.get(0)));
        }
      case "timeout":
        try (Statement statement = connection.createStatement()) {
          statement.setQueryTimeout(1);
          return results(statement, statement.execute(words.get(0)));
        }
      case "cancel":
        try (Statement statement = connection.createStatement()) {
          var canceller = new Thread(() -> {
            try {
              Thread.sleep(1000);
              statement.cancel();
            } catch (Exception ignored) {
              // The statement reports what became of it.
            }
          });
          canceller.start();
          try {
            return results(statement, statement.execute(words.get(0)));
          } finally {
            canceller.join();
          }
        }
      case "leave":
        try (Statement statement = connection.createStatement();
            ResultSet rows = statement.executeQuery(words.get(0))) {
          rows.next();
          return "{\"first\":" + quoted(rows.getString(1)) + "}";
        }
      case "count": {
        long count = 0;
        try (Statement statement = connection.createStatement();
            ResultSet rows = statement.executeQuery(words.get(0))) {
          while (rows.next()) count++;
        }
        return "{\"rows\":" + count + "}";
      }
      case "execute":
        try (PreparedStatement statement = connection.prepareStatement(words.get(0))) {
          bind(statement, words.subList(1, words.size()));
          return results(statement, statement.execute());
        }
      case "repeat": {
        // One statement, executed with each of the parameters in turn.
        var answers = new ArrayList<String>();
        try (PreparedStatement statement = connection.prepareStatement(words.get(0))) {
          for (String word : words.subList(1, words.size())) {
            bind(statement, List.of(word));
            answers.add(results(statement, statement.execute()));
          }
        }
        return "{\"answers\":[" + String.join(",", answers) + "]}";
      }
      case "batch":
        try (PreparedStatement statement = connection.prepareStatement(words.get(0))) {
          for (String word : words.subList(1, words.size())) {
            bind(statement, List.of(word));
            statement.addBatch();
          }
          long sum = 0;
          for (int count : statement.executeBatch()) sum += count;
          return "{\"changed\":" + sum + "}";
        }
      case "output":
        try (CallableStatement call = connection.prepareCall("{call sp_executesql(?, ?, ?)}")) {
          call.setNString(1, words.get(0));
          call.setNString(2, "@out bigint output");
          call.registerOutParameter(3, Types.BIGINT);
          call.execute();
          return "{\"out\":" + call.getLong(3) + "}";
        }
      case "bulk": {
        var csv = new ByteArrayInputStream(String.join("\n", words.subList(1, words.size())).getBytes(StandardCharsets.UTF_8));
        try (var copy = new SQLServerBulkCopy(connection);
            var lines = new SQLServerBulkCSVFileRecord(csv, "UTF-8", ",", false)) {
          lines.addColumnMetadata(1, "id", Types.INTEGER, 0, 0);
          lines.addColumnMetadata(2, "note", Types.NVARCHAR, 20, 0);
          copy.setDestinationTableName(words.get(0));
          copy.writeToServer(lines);
        }
        return "{\"changed\":" + (words.size() - 1) + "}";
      }
      case "scroll":
        // A server cursor: of a text without parameters, and of one with them.
        try (PreparedStatement statement =
                connection.prepareStatement(words.get(0), ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY)) {
          bind(statement, words.subList(1, words.size()));
          try (ResultSet rows = statement.executeQuery()) {
            return scrolled(rows);
          }
        }
      case "cursor":
        try (Statement statement = connection.createStatement(SQLServerResultSet.TYPE_SS_SERVER_CURSOR_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY)) {
          statement.setFetchSize(2);
          try (ResultSet rows = statement.executeQuery(words.get(0))) {
            return "{\"results\":[{\"rows\":" + rows(rows) + "}]}";
          }
        }
      case "tables":
        try (ResultSet rows = connection.getMetaData().getTables(null, "dbo", words.get(0), new String[] {"TABLE"})) {
          return names(rows, "TABLE_NAME");
        }
      case "types":
        try (ResultSet rows = connection.getMetaData().getTypeInfo()) {
          return names(rows, "TYPE_NAME");
        }
      case "parameters":
        try (PreparedStatement statement = connection.prepareStatement(words.get(0))) {
          ParameterMetaData described = statement.getParameterMetaData();
          var found = new ArrayList<String>();
          for (int index = 1; index <= described.getParameterCount(); index++)
            found.add("[" + quoted(described.getParameterTypeName(index)) + "]");
          return "{\"results\":[{\"rows\":[" + String.join(",", found) + "]}]}";
        }
      case "begin":
        connection.setTransactionIsolation(
            words.get(0).equals("serializable")
                ? Connection.TRANSACTION_SERIALIZABLE
                : words.get(0).equals("snapshot")
                    ? SQLServerConnection.TRANSACTION_SNAPSHOT
                    : Connection.TRANSACTION_READ_COMMITTED);
        connection.setAutoCommit(false);
        return "{}";
      case "commit":
        connection.commit();
        connection.setAutoCommit(true);
        return "{}";
      case "rollback":
        connection.rollback();
        connection.setAutoCommit(true);
        return "{}";
      default:
        throw new IllegalArgumentException(verb);
    }
  }

  private static String names(ResultSet rows, String column) throws SQLException {
    var found = new ArrayList<String>();
    while (rows.next()) found.add("[" + quoted(rows.getString(column)) + "]");
    return "{\"results\":[{\"rows\":[" + String.join(",", found) + "]}]}";
  }

  /** The last row, the first, the one in the middle, and the one before it. */
  private static String scrolled(ResultSet rows) throws SQLException {
    var found = new ArrayList<String>();
    rows.last();
    int count = rows.getRow();
    found.add("[" + value(rows, 1) + "]");
    rows.first();
    found.add("[" + value(rows, 1) + "]");
    rows.absolute(count / 2);
    found.add("[" + value(rows, 1) + "]");
    rows.previous();
    found.add("[" + value(rows, 1) + "]");
    return "{\"results\":[{\"rows\":[" + String.join(",", found) + "]}]}";
  }

  private static void bind(PreparedStatement statement, List<String> words) throws SQLException {
    for (int index = 0; index < words.size(); index++) {
      String word = words.get(index);
      int colon = word.indexOf(':');
      String value = word.substring(colon + 1);
      switch (word.substring(0, colon)) {
        case "int" -> statement.setInt(index + 1, Integer.parseInt(value));
        case "bigint" -> statement.setLong(index + 1, Long.parseLong(value));
        case "float" -> statement.setDouble(index + 1, Double.parseDouble(value));
        case "decimal" -> statement.setBigDecimal(index + 1, new java.math.BigDecimal(value));
        case "bit" -> statement.setBoolean(index + 1, value.equals("1"));
        case "bytes" -> statement.setBytes(index + 1, HexFormat.of().parseHex(value));
        case "date" -> statement.setDate(index + 1, java.sql.Date.valueOf(value));
        case "null" -> statement.setNull(index + 1, Types.INTEGER);
        default -> statement.setNString(index + 1, value);
      }
    }
  }

  private static String results(Statement statement, boolean first) throws SQLException {
    var parts = new ArrayList<String>();
    boolean isRows = first;
    for (;;) {
      if (isRows) {
        try (ResultSet rows = statement.getResultSet()) {
          parts.add("{\"rows\":" + rows(rows) + "}");
        }
      } else {
        int count = statement.getUpdateCount();
        if (count == -1) break;
        parts.add("{\"count\":" + count + "}");
      }
      isRows = statement.getMoreResults();
    }
    var notices = new ArrayList<String>();
    for (SQLWarning warning = statement.getWarnings(); warning != null; warning = warning.getNextWarning()) {
      notices.add(quoted(warning.getMessage()));
    }
    return "{\"results\":[" + String.join(",", parts) + "],\"notices\":[" + String.join(",", notices) + "]}";
  }

  private static String rows(ResultSet rows) throws SQLException {
    var lines = new ArrayList<String>();
    int columns = rows.getMetaData().getColumnCount();
    while (rows.next()) {
      var values = new ArrayList<String>();
      for (int column = 1; column <= columns; column++) values.add(value(rows, column));
      lines.add("[" + String.join(",", values) + "]");
    }
    return "[" + String.join(",", lines) + "]";
  }

  private static String value(ResultSet rows, int column) throws SQLException {
    String type = rows.getMetaData().getColumnTypeName(column);
    if (type.contains("binary") || type.contains("image") || type.contains("hierarchyid")) {
      byte[] bytes = rows.getBytes(column);
      return bytes == null ? "null" : quoted(HexFormat.of().formatHex(bytes));
    }
    if (type.equals("datetime") || type.equals("smalldatetime") || type.equals("datetime2")) {
      var stamp = rows.getObject(column, java.time.LocalDateTime.class);
      return stamp == null ? "null" : quoted(stamp.toString());
    }
    if (type.equals("float") || type.equals("real")) {
      Object value = rows.getObject(column);
      return value == null ? "null" : quoted(value.toString());
    }
    return quoted(rows.getString(column));
  }

  private static String quoted(String text) {
    if (text == null) return "null";
    var out = new StringBuilder("\"");
    for (char one : text.toCharArray()) {
      if (one == '"' || one == '\\') out.append('\\').append(one);
      else if (one < ' ' || one > '~') out.append(String.format("\\u%04x", (int) one));
      else out.append(one);
    }
    return out.append('"').toString();
  }

  private JdbcClient() {}
}
