using System;
using System.Collections.Generic;
using System.Data;
using System.Data.SqlClient;
using System.Globalization;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

/// <summary>Microsoft's SqlClient, as Mono has it, driven by lines: see clients.ts.</summary>
internal static class Program
{
    private static SqlConnection connection;
    private static SqlTransaction transaction;
    private static readonly List<string> notices = new List<string>();

    private static void Main()
    {
        Console.OutputEncoding = new UTF8Encoding(false);
        for (string line = Console.ReadLine(); line != null; line = Console.ReadLine())
        {
            string[] words = Array.ConvertAll(line.Split(' '), Uri.UnescapeDataString);
            string answer;
            try
            {
                answer = Run(words[0], words);
            }
            catch (SqlException error)
            {
                answer = "{\"error\":" + error.Number + ",\"message\":" + Quoted(error.Message) + "}";
            }
            catch (Exception error)
            {
                answer = "{\"error\":-1,\"message\":" + Quoted(error.ToString()) + "}";
            }
            Console.WriteLine(answer);
        }
    }

    private static string Run(string verb, string[] words)
    {
        switch (verb)
        {
            case "connect":
                if (connection != null) connection.Close();
                connection = new SqlConnection(words[1]);
                if (words.Length > 2) connection.AccessToken = words[2];
                connection.InfoMessage += (_, told) => notices.Add(Quoted(told.Message));
                connection.Open();
                return "{}";
            case "close":
                connection.Close();
                return "{}";
            case "begin":
                transaction = connection.BeginTransaction(
                    words[1] == "serializable" ? IsolationLevel.Serializable
                    : words[1] == "snapshot" ? IsolationLevel.Snapshot : IsolationLevel.ReadCommitted);
                return "{}";
            case "commit":
                transaction.Commit();
                transaction = null;
                return "{}";
            case "rollback":
                transaction.Rollback();
                transaction = null;
                return "{}";
        }
        using (var command = new SqlCommand(words[1], connection, transaction))
        {
            command.CommandTimeout = verb == "timeout" ? 1 : 60;
            switch (verb)
            {
                case "run":
                case "timeout":
                    return Results(command);
                case "execute":
                    Bind(command, words, 2, words.Length);
                    return Results(command);
                case "repeat":
                {
                    var answers = new List<string>();
                    command.Parameters.Add("@p1", SqlDbType.Int).Value = 0;
                    command.Prepare();
                    for (int at = 2; at < words.Length; at++)
                    {
                        command.Parameters[0].Value = Value(words[at]);
                        answers.Add(Results(command));
                    }
                    return "{\"answers\":[" + string.Join(",", answers) + "]}";
                }
                case "change":
                    Bind(command, words, 2, words.Length);
                    return "{\"changed\":" + command.ExecuteNonQuery() + "}";
                case "output":
                {
                    var output = command.Parameters.Add("@out", SqlDbType.BigInt);
                    output.Direction = ParameterDirection.Output;
                    command.ExecuteNonQuery();
                    return "{\"out\":" + output.Value + "}";
                }
                case "cancel":
                    // A call that waits holds the lock that Cancel needs; a task does not.
                    using (var source = new CancellationTokenSource(1000))
                    using (SqlDataReader rows = Awaited(command.ExecuteReaderAsync(source.Token)))
                        return Results(rows);
                case "batch":
                    return Batch(command, words);
                case "bulk":
                    return Bulk(words);
                case "mars":
                    return ByTurns(command, words[2]);
                case "leave":
                    using (SqlDataReader rows = command.ExecuteReader())
                    {
                        rows.Read();
                        return "{\"first\":" + Quoted(TextOf(rows.GetValue(0))) + "}";
                    }
                case "count":
                    using (SqlDataReader rows = command.ExecuteReader())
                    {
                        int count = 0;
                        while (rows.Read()) count++;
                        return "{\"rows\":" + count + "}";
                    }
                default:
                    throw new ArgumentException(verb);
            }
        }
    }

    /// <summary>An adapter sends the changes of its table in one message.</summary>
    private static string Batch(SqlCommand command, string[] words)
    {
        using (var lines = new DataTable())
        using (var adapter = new SqlDataAdapter())
        {
            lines.Columns.Add("id", typeof(int));
            for (int at = 2; at < words.Length; at++) lines.Rows.Add(Value(words[at]));
            command.Parameters.Add("@p1", SqlDbType.Int).SourceColumn = "id";
            command.UpdatedRowSource = UpdateRowSource.None;
            adapter.InsertCommand = command;
            adapter.UpdateBatchSize = lines.Rows.Count;
            return "{\"changed\":" + adapter.Update(lines) + "}";
        }
    }

    private static string Bulk(string[] words)
    {
        using (var lines = new DataTable())
        using (var copy = new SqlBulkCopy(connection))
        {
            lines.Columns.Add("id", typeof(int));
            lines.Columns.Add("note", typeof(string));
            for (int at = 2; at < words.Length; at++)
            {
                string[] fields = words[at].Split(',');
                lines.Rows.Add(int.Parse(fields[0]), fields[1]);
            }
            copy.DestinationTableName = words[1];
            copy.WriteToServer(lines);
            return "{\"changed\":" + lines.Rows.Count + "}";
        }
    }

    /// <summary>Two results, read by turns.</summary>
    private static string ByTurns(SqlCommand first, string text)
    {
        var found = new List<string>();
        using (var second = new SqlCommand(text, connection))
        using (SqlDataReader ones = first.ExecuteReader())
        using (SqlDataReader others = second.ExecuteReader())
        {
            for (int turn = 0; turn < 3; turn++)
            {
                foreach (SqlDataReader rows in new[] { ones, others })
                {
                    rows.Read();
                    found.Add("[" + Quoted(TextOf(rows.GetValue(0))) + "]");
                }
            }
        }
        return "{\"results\":[{\"rows\":[" + string.Join(",", found) + "]}]}";
    }

    private static void Bind(SqlCommand command, string[] words, int from, int to)
    {
        for (int at = from; at < to; at++)
            command.Parameters.AddWithValue("@p" + (at - from + 1), Value(words[at]));
    }

    private static object Value(string word)
    {
        int colon = word.IndexOf(':');
        string value = word.Substring(colon + 1);
        switch (word.Substring(0, colon))
        {
            case "int": return int.Parse(value);
            case "bigint": return long.Parse(value);
            case "float": return double.Parse(value, CultureInfo.InvariantCulture);
            case "decimal": return decimal.Parse(value, CultureInfo.InvariantCulture);
            case "bit": return value == "1";
            case "null": return DBNull.Value;
            case "bytes":
            {
                var bytes = new byte[value.Length / 2];
                for (int at = 0; at < bytes.Length; at++) bytes[at] = Convert.ToByte(value.Substring(at * 2, 2), 16);
                return bytes;
            }
            default: return value;
        }
    }

    private static T Awaited<T>(Task<T> task)
    {
        try
        {
            return task.Result;
        }
        catch (AggregateException error)
        {
            throw error.InnerException;
        }
    }

    private static string Results(SqlCommand command)
    {
        notices.Clear();
        using (SqlDataReader rows = command.ExecuteReader())
            return Results(rows);
    }

    private static string Results(SqlDataReader rows)
    {
        var parts = new List<string>();
        do
        {
            if (rows.FieldCount == 0) continue;
            var lines = new List<string>();
            while (rows.Read())
            {
                var values = new List<string>();
                for (int column = 0; column < rows.FieldCount; column++)
                    values.Add(Quoted(rows.IsDBNull(column) ? null : TextOf(rows.GetValue(column))));
                lines.Add("[" + string.Join(",", values) + "]");
            }
            parts.Add("{\"rows\":[" + string.Join(",", lines) + "]}");
        } while (rows.NextResult());
        return "{\"results\":[" + string.Join(",", parts) + "],\"notices\":[" + string.Join(",", notices) + "]}";
    }

    private static string TextOf(object value)
    {
        if (value is bool) return (bool)value ? "1" : "0";
        if (value is byte[]) return BitConverter.ToString((byte[])value).Replace("-", "").ToLowerInvariant();
        if (value is DateTime) return ((DateTime)value).ToString("yyyy-MM-ddTHH:mm:ss.fffffff", CultureInfo.InvariantCulture);
        if (value is DateTimeOffset) return ((DateTimeOffset)value).ToString("yyyy-MM-dd HH:mm:ss.fffffff zzz", CultureInfo.InvariantCulture);
        if (value is double) return ((double)value).ToString("R", CultureInfo.InvariantCulture);
        if (value is float) return ((float)value).ToString("R", CultureInfo.InvariantCulture);
        return Convert.ToString(value, CultureInfo.InvariantCulture);
    }

    private static string Quoted(string text)
    {
        if (text == null) return "null";
        var quoted = new StringBuilder("\"");
        foreach (char one in text)
        {
            if (one == '"' || one == '\\') quoted.Append('\\').Append(one);
            else if (one < ' ' || one > '~') quoted.AppendFormat("\\u{0:x4}", (int)one);
            else quoted.Append(one);
        }
        return quoted.Append('"').ToString();
    }
}
