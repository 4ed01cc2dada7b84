// Microsoft's driver for Go, driven by lines: see clients.ts.
package main

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	_ "github.com/microsoft/go-mssqldb/integratedauth/krb5"
)

type answer map[string]any

var connection *sql.Conn
var transaction *sql.Tx

func text(value any, kind string) any {
	switch one := value.(type) {
	case nil:
		return nil
	case bool:
		if one {
			return "1"
		}
		return "0"
	case []byte:
		switch kind {
		case "DECIMAL", "MONEY", "SMALLMONEY", "SQL_VARIANT":
			return string(one)
		case "UNIQUEIDENTIFIER":
			var id mssql.UniqueIdentifier
			if id.Scan(one) == nil {
				return id.String()
			}
		}
		return hex.EncodeToString(one)
	case float64:
		return strconv.FormatFloat(one, 'g', -1, 64)
	case time.Time:
		switch kind {
		case "DATE":
			return one.Format("2006-01-02")
		case "TIME":
			return one.Format("15:04:05.9999999")
		case "DATETIMEOFFSET":
			return one.Format("2006-01-02 15:04:05.9999999 -07:00")
		}
		return one.Format("2006-01-02T15:04:05.9999999")
	default:
		return fmt.Sprint(one)
	}
}

func parameter(word string) any {
	kind, value, _ := strings.Cut(word, ":")
	switch kind {
	case "int":
		number, _ := strconv.ParseInt(value, 10, 32)
		return int32(number)
	case "bigint":
		number, _ := strconv.ParseInt(value, 10, 64)
		return number
	case "float":
		number, _ := strconv.ParseFloat(value, 64)
		return number
	case "bit":
		return value == "1"
	case "bytes":
		bytes, _ := hex.DecodeString(value)
		return bytes
	case "null":
		return nil
	}
	return value
}

func parameters(words []string) []any {
	values := make([]any, len(words))
	for index, word := range words {
		values[index] = parameter(word)
	}
	return values
}

func results(ctx context.Context, words []string) (answer, error) {
	var rows *sql.Rows
	var err error
	if transaction != nil {
		rows, err = transaction.QueryContext(ctx, words[0], parameters(words[1:])...)
	} else {
		rows, err = connection.QueryContext(ctx, words[0], parameters(words[1:])...)
	}
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	parts := []any{}
	for more := true; more; more = rows.NextResultSet() {
		kinds, err := rows.ColumnTypes()
		if err != nil {
			return nil, err
		}
		lines := [][]any{}
		for rows.Next() {
			values := make([]any, len(kinds))
			places := make([]any, len(kinds))
			for index := range values {
				places[index] = &values[index]
			}
			if err := rows.Scan(places...); err != nil {
				return nil, err
			}
			for index, value := range values {
				values[index] = text(value, kinds[index].DatabaseTypeName())
			}
			lines = append(lines, values)
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
		if len(kinds) > 0 {
			parts = append(parts, answer{"rows": lines})
		}
	}
	return answer{"results": parts}, nil
}

func connect(words []string) (answer, error) {
	if connection != nil {
		connection.Close()
		connection = nil
	}
	var connector driver.Connector
	var err error
	connector, err = mssql.NewConnector(words[0])
	if len(words) > 1 {
		connector, err = mssql.NewAccessTokenConnector(words[0], func() (string, error) { return words[1], nil })
	}
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(connector)
	connection, err = pool.Conn(context.Background())
	return answer{}, err
}

func run(verb string, words []string) (answer, error) {
	ctx := context.Background()
	switch verb {
	case "connect":
		return connect(words)
	case "close":
		return answer{}, connection.Close()
	case "run", "execute":
		return results(ctx, words)
	case "change":
		done, err := connection.ExecContext(ctx, words[0], parameters(words[1:])...)
		if err != nil {
			return nil, err
		}
		changed, err := done.RowsAffected()
		return answer{"changed": changed}, err
	case "output":
		var out int64
		_, err := connection.ExecContext(ctx, words[0], sql.Named("out", sql.Out{Dest: &out}))
		return answer{"out": out}, err
	case "repeat":
		statement, err := connection.PrepareContext(ctx, words[0])
		if err != nil {
			return nil, err
		}
		defer statement.Close()
		answers := []any{}
		for _, word := range words[1:] {
			var number any
			if err := statement.QueryRowContext(ctx, parameter(word)).Scan(&number); err != nil {
				return nil, err
			}
			answers = append(answers, answer{"results": []any{answer{"rows": [][]any{{text(number, "")}}}}})
		}
		return answer{"answers": answers}, nil
	case "timeout":
		limited, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return results(limited, words)
	case "cancel":
		cancelled, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Second, cancel)
		return results(cancelled, words)
	case "leave":
		rows, err := connection.QueryContext(ctx, words[0])
		if err != nil {
			return nil, err
		}
		var first any
		rows.Next()
		err = rows.Scan(&first)
		rows.Close()
		return answer{"first": text(first, "")}, err
	case "count":
		rows, err := connection.QueryContext(ctx, words[0])
		if err != nil {
			return nil, err
		}
		count := 0
		for rows.Next() {
			count++
		}
		return answer{"rows": count}, rows.Err()
	case "bulk":
		statement, err := connection.PrepareContext(ctx, mssql.CopyIn(words[0], mssql.BulkOptions{}, "id", "note"))
		if err != nil {
			return nil, err
		}
		defer statement.Close()
		for _, line := range words[1:] {
			id, note, _ := strings.Cut(line, ",")
			if _, err := statement.ExecContext(ctx, parameter("int:"+id), note); err != nil {
				return nil, err
			}
		}
		done, err := statement.ExecContext(ctx)
		if err != nil {
			return nil, err
		}
		changed, err := done.RowsAffected()
		return answer{"changed": changed}, err
	case "begin":
		levels := map[string]sql.IsolationLevel{"serializable": sql.LevelSerializable, "snapshot": sql.LevelSnapshot}
		begun, err := connection.BeginTx(ctx, &sql.TxOptions{Isolation: levels[words[0]]})
		transaction = begun
		return answer{}, err
	case "commit":
		ended := transaction
		transaction = nil
		return answer{}, ended.Commit()
	case "rollback":
		ended := transaction
		transaction = nil
		return answer{}, ended.Rollback()
	}
	return nil, fmt.Errorf("no verb %s", verb)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.Split(lines.Text(), " ")
		for index, word := range words {
			words[index], _ = url.PathUnescape(word)
		}
		result, err := run(words[0], words[1:])
		if err != nil {
			number := int32(-1)
			var known mssql.Error
			if errors.As(err, &known) {
				number = known.Number
			}
			result = answer{"error": number, "message": err.Error()}
		}
		line, _ := json.Marshal(result)
		fmt.Println(string(line))
	}
}
