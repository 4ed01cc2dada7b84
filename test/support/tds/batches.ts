/** Part of the TDS server test double: the statements of a batch, and the state of the session that they set. */

import { type Answer, Backend } from './backend.ts'
import type { Faults } from './faults.ts'
import { backendConfig, PROGRAM, SERVER_NAME, VERSION } from './login.ts'
import type { Journal, TdsServerOptions } from './options.ts'
import type { Parameter } from './parameters.ts'
import { Procedures } from './procedures.ts'
import type { Response } from './response.ts'
import { sendAnswer } from './results.ts'
import { alterLogin, applicationLock, describeStatement, lockTable } from './server-functions.ts'
import { blockOf, conditionalOf, statements } from './statements.ts'
import { DONE, envText, errorToken } from './tokens.ts'
import { Transactions } from './transactions.ts'
import { type Globals, SqlError, type Translated, translate } from './translate.ts'
import { items, type Token, tokenize, wordOf } from './tsql.ts'

const DEFAULT_LOCK_TIMEOUT = -1
const DESCRIBE = 'dm_exec_describe_first_result_set'
const HELD = /with \(tablock, holdlock\)/i
const LOCK_TIMEOUT = 1222
const WRITES = new Set(['insert', 'update', 'delete', 'merge', 'create', 'drop', 'alter', 'truncate'])

/** Tests name memory-optimized tables so; transactions read them with this hint. */
const IN_MEMORY = /\[in_memory[^\]]*\](?<hint> with \(snapshot\))?/i

/** The session that the statements run in. */
export interface BatchSurroundings {
  readonly spid: number
  readonly login: string
  readonly encrypted: boolean
  /** Whether the client takes UTF-8. */
  readonly utf8: boolean
  /** `SQL` or `KERBEROS`. */
  readonly scheme: string
  readonly options: TdsServerOptions
  readonly faults: Faults
  readonly journal: Journal
  readonly kill: () => void
}

export class Batches {
  backend: Backend
  database: string
  readonly transactions = new Transactions(() => this.backend)
  rowCount = 0
  lastError = 0
  noCount = false
  /** SET IMPLICIT_TRANSACTIONS: the next statement that reads or writes begins a transaction. */
  implicit = false
  lockTimeout = DEFAULT_LOCK_TIMEOUT
  /** SET FMTONLY: statements give the columns of their results, and do nothing else. */
  formatOnly = false
  readonly procedures: Procedures
  /** The target of INSERT BULK, whose rows arrive in the next message. */
  bulkTable: readonly Token[] = []
  readonly #who: BatchSurroundings
  readonly #firstDatabase: string
  readonly #options: TdsServerOptions
  readonly #faults: Faults
  readonly journal: Journal
  readonly #kill: () => void

  constructor(who: BatchSurroundings, backend: Backend, database: string) {
    this.#who = who
    this.backend = backend
    this.database = database
    this.#firstDatabase = database
    this.#options = who.options
    this.#faults = who.faults
    this.journal = who.journal
    this.#kill = who.kill
    this.procedures = new Procedures(this)
  }

  /** @returns the variables at the end: the parameters and those of DECLARE */
  async run(sql: string, parameters: readonly Parameter[], response: Response): Promise<readonly Parameter[]> {
    this.journal.requests.push(sql)
    // Variables of DECLARE last until the batch ends.
    const variables = [...parameters]
    for (const statement of statements(tokenize(sql))) {
      if (response.isStopping) break
      try {
        await this.#statement(statement, variables, response)
        this.lastError = 0
      } catch (error) {
        // In SQL Server most errors end only their statement; here only the one that tests read by @@ERROR does.
        if (!(error instanceof SqlError) || error.number !== LOCK_TIMEOUT || response.isStopping) throw error
        this.lastError = error.number
        await response.write(errorToken(error, SERVER_NAME))
        await response.done(DONE.error)
      }
    }
    return variables
  }

  async #statement(tokens: readonly Token[], parameters: Parameter[], response: Response): Promise<void> {
    const words = tokens.filter((token) => token.kind !== 'space')
    const [first, second] = [wordOf(words[0]), wordOf(words[1])]
    const literal =
      words
        .find((token) => token.kind === 'string')
        ?.text.slice(1, -1)
        .replaceAll("''", "'") ?? ''
    const numbers = words.filter((token) => token.kind === 'number').map((token) => Number(token.text))
    if (alterLogin(words, parameters, this.#who.login, this.#options)) return
    switch (first) {
      case 'set':
        if (second === 'nocount') this.noCount = wordOf(words[2]) === 'on'
        if (second === 'fmtonly') this.formatOnly = wordOf(words[2]) === 'on'
        if (second === 'implicit_transactions') this.implicit = wordOf(words[2]) === 'on'
        if (second === 'lock_timeout') {
          const sign = words.some((word) => word.text === '-') ? -1 : 1
          this.lockTimeout = sign * (numbers[0] ?? 0)
        }
        return
      case 'insert': {
        if (second !== 'bulk') break
        const from = tokens.findIndex((token) => wordOf(token) === 'bulk') + 1
        const to = tokens.findIndex((token, index) => index > from && token.text === '(')
        this.bulkTable = tokens.slice(from, to)
        return
      }
      case 'begin':
        if (second?.startsWith('tran')) return this.transactions.begin(response)
        for (const inner of blockOf(tokens)) await this.#statement(inner, parameters, response)
        return
      case 'commit':
        return this.transactions.commit(response)
      case 'rollback':
        return this.transactions.rollback(words[2]?.text ?? '', response)
      case 'save':
        return this.transactions.save(words[2]?.text ?? '')
      case 'print':
        return this.#print(tokens.slice(1), parameters, response)
      case 'raiserror':
        // Severities up to 10 are not errors.
        if ((numbers[0] ?? 16) <= 10) {
          const notice = { number: 50000, state: numbers[1] ?? 1, class: 0, message: literal }
          await response.write(errorToken(notice, SERVER_NAME, true))
          if (words.some((word) => wordOf(word) === 'nowait')) await response.writer.flush()
          return
        }
        throw new SqlError(50000, numbers[1] ?? 1, numbers[0] ?? 16, literal)
      case 'throw':
        throw new SqlError(numbers[0] ?? 50000, numbers[1] ?? 1, 16, literal)
      case 'use':
        return this.#use(words[1]?.text ?? '', response)
      case 'waitfor': {
        const [hours = 0, minutes = 0, seconds = 0] = literal.split(':').map(Number)
        await this.backend.execute(`select pg_sleep(${hours * 3600 + minutes * 60 + seconds})`)
        return
      }
      case 'if':
        return this.#conditional(tokens, parameters, response)
      case 'declare':
        for (const one of items(tokens.slice(1))) {
          const equals = one.findIndex((token) => token.text === '=')
          const [name, ...type] = one.slice(0, equals < 0 ? undefined : equals).filter(({ kind }) => kind !== 'space')
          const value = equals < 0 ? null : await this.#scalar(one.slice(equals + 1), parameters)
          parameters.push({ name: name?.text ?? '', cast: this.#castOf(type), value })
        }
        return
      case 'select':
        if (words[1]?.kind === 'variable' && words[2]?.text === '=') return this.#assign(tokens.slice(1), parameters)
        break
      case 'exec':
      case 'execute':
        if (words.some((word) => /^sp_(get|release)applock$/i.test(word.text))) {
          return applicationLock(this.backend, words, parameters)
        }
        return this.procedures.execute(words.slice(1), parameters, response)
    }
    // The first statement of a batch needs no EXEC.
    if (first?.startsWith('sp_') === true) return this.procedures.execute(words, parameters, response)
    await this.#query(tokens, parameters, response)
  }

  /** PRINT takes an expression; `+` joins texts. */
  async #print(tokens: readonly Token[], parameters: readonly Parameter[], response: Response): Promise<void> {
    const joined = tokens.map((token) => (token.text === '+' ? { ...token, text: '||' } : token))
    const message = (await this.#scalar(joined, parameters)) ?? ' '
    await response.write(errorToken({ number: 0, state: 1, class: 0, message }, SERVER_NAME, true))
  }

  async #scalar(tokens: readonly Token[], parameters: readonly Parameter[]): Promise<string | null> {
    const expression = translate(tokens, parameters, this.globals())
    const answer = await this.backend.run({ ...expression, text: `select (${expression.text})` })
    const [row] = await answer.read()
    await answer.close()
    return row?.[0] ?? null
  }

  /** The type of a variable for PostgreSQL's cast; texts need none. */
  #castOf(type: readonly Token[]): string | undefined {
    const { text } = translate(type, [], this.globals())
    return /char|text/.test(text) ? undefined : text
  }

  /** `SELECT @a = 1, @b = N'x'`: sets variables, and has no result. */
  async #assign(tokens: readonly Token[], parameters: Parameter[]): Promise<void> {
    for (const one of items(tokens)) {
      const equals = one.findIndex((token) => token.text === '=')
      const name = one.find((token) => token.kind === 'variable')?.text
      const at = parameters.findIndex((parameter) => parameter.name === name)
      const known = parameters[at]
      if (known === undefined) throw new SqlError(137, 1, 15, `Must declare the scalar variable "@${name}".`)
      const expression = one.slice(equals + 1)
      const [bytes] = expression.filter((token) => token.kind !== 'space')
      // Bytes become the characters of the code page in a variable that holds text.
      const isText = known.cast === undefined && bytes?.kind === 'number' && bytes.text.startsWith('0x')
      const value = isText
        ? Buffer.from(bytes.text.slice(2), 'hex').toString('latin1')
        : await this.#scalar(expression, parameters)
      parameters[at] = { ...known, value }
    }
  }

  /** PostgreSQL evaluates the condition. */
  async #conditional(tokens: readonly Token[], parameters: Parameter[], response: Response): Promise<void> {
    const { condition, action, otherwise } = conditionalOf(tokens)
    // PostgreSQL does not find the type of a text that is null.
    const known = parameters.map((one) => (one.value === null && !one.cast ? { ...one, cast: 'text' } : one))
    const chosen = (await this.#scalar(condition, known)) === 't' ? action : otherwise
    if (chosen.length > 0) await this.#statement(chosen, parameters, response)
  }

  async #query(tokens: readonly Token[], parameters: readonly Parameter[], response: Response): Promise<void> {
    const isWrite = WRITES.has(wordOf(tokens.find((token) => token.kind !== 'space')) ?? '')
    if (this.#faults.readOnly && isWrite) {
      const message = `Failed to update database "${this.database}" because the database is read-only.`
      throw new SqlError(3906, 1, 16, message)
    }
    if (this.formatOnly && isWrite) return response.done(DONE.final)
    if (tokens.some((token) => wordOf(token) === DESCRIBE)) {
      const inTransaction = this.transactions.count > 0
      await describeStatement({ backend: this.backend, globals: this.globals(), inTransaction }, tokens, parameters)
    }
    const plain = tokens.map((token) => token.text).join('')
    // A SELECT without a table begins none.
    const touches = !/^\s*select\b/i.test(plain) || tokens.some((token) => wordOf(token) === 'from')
    if (this.implicit && touches && this.transactions.count === 0) await this.transactions.begin(response)
    if (this.transactions.count > 0) this.#refuseInMemory(plain)
    const holds = this.transactions.count > 0 && HELD.test(plain)
    const before = async (): Promise<void> => {
      if (holds) await lockTable(this.backend, tokens, this.lockTimeout)
    }
    await this.send(translate(tokens, parameters, this.globals()), response, before)
  }

  /** Runs a statement in PostgreSQL's SQL, and sends its result. */
  async send(statement: Translated, response: Response, before?: () => Promise<void>): Promise<void> {
    const { formatOnly, noCount } = this
    const how = { faults: this.#faults, utf8: this.#who.utf8, formatOnly, noCount }
    const count = await this.guarded(statement, (answer) => sendAnswer(answer, response, how), before)
    if (count !== undefined) this.rowCount = count
  }

  /** In SQL Server a failed statement does not end the transaction around it. */
  async guarded<T>(
    statement: Translated,
    use: (answer: Answer) => Promise<T>,
    before?: () => Promise<void>,
  ): Promise<T> {
    const inTransaction = this.transactions.count > 0
    if (inTransaction) await this.backend.execute('savepoint tds_statement')
    let answer: Answer | undefined
    try {
      await before?.()
      answer = await this.backend.run(statement)
      const result = await use(answer)
      if (inTransaction) await this.backend.execute('release savepoint tds_statement')
      return result
    } catch (error) {
      // Unread rows would block the next statement.
      await answer?.close()
      if (inTransaction) await this.backend.execute('rollback to savepoint tds_statement')
      throw error
    }
  }

  #refuseInMemory(text: string): void {
    const named = IN_MEMORY.exec(text)
    if (named === null) return
    if (this.transactions.isSnapshot) {
      throw new SqlError(
        41332,
        0,
        16,
        'Memory optimized tables cannot be accessed when the session is set to SNAPSHOT.',
      )
    }
    if (named.groups?.hint === undefined) {
      throw new SqlError(41368, 0, 16, 'Memory optimized tables need WITH (SNAPSHOT) in an explicit transaction.')
    }
  }

  globals(): Globals {
    return {
      version: `Microsoft SQL Server 2022 (${VERSION.join('.')}.0) - ${PROGRAM}`,
      serverName: SERVER_NAME,
      spid: this.#who.spid,
      transactionCount: this.transactions.count,
      rowCount: this.rowCount,
      lastError: this.lastError,
      lockTimeout: this.lockTimeout,
      login: this.#who.login,
      database: this.database,
      readOnly: this.#faults.readOnly,
      encrypted: this.#who.encrypted,
      scheme: this.#who.scheme,
    }
  }

  async #use(database: string, response: Response): Promise<void> {
    const backend = await Backend.connect(backendConfig(this.#options, database), this.#kill).catch(() => {
      throw new SqlError(
        911,
        1,
        16,
        `Database '${database}' does not exist. Make sure that the name is entered correctly.`,
      )
    })
    await this.backend.close()
    this.backend = backend
    await response.write(envText('database', database, this.database))
    this.database = database
  }

  /** Restores the state after the login. */
  async reset(rollback: boolean): Promise<void> {
    if (rollback && this.transactions.count > 0) {
      await this.backend.execute('rollback')
      this.transactions.ended()
    }
    if (this.database !== this.#firstDatabase) {
      await this.backend.close()
      this.backend = await Backend.connect(backendConfig(this.#options, this.#firstDatabase), this.#kill)
      this.database = this.#firstDatabase
    } else if (this.transactions.count === 0) await this.backend.discard()
    this.lockTimeout = DEFAULT_LOCK_TIMEOUT
    this.noCount = false
    this.implicit = false
    this.formatOnly = false
    this.rowCount = 0
  }
}
