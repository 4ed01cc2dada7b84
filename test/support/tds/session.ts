/** Part of the TDS server test double: the requests of one logged-in client (MS-TDS 3.3.5.6 and after). */

import { randomBytes } from 'node:crypto'
import { type Answer, Backend } from './backend.ts'
import { readBulkLoad } from './bulk.ts'
import type { Faults } from './faults.ts'
import { backendConfig, GARBAGE, type LoggedIn, PROGRAM, refusal, SERVER_NAME, strike, VERSION } from './login.ts'
import type { Journal, TdsServerOptions } from './options.ts'
import { type Message, MessageWriter, PACKET, type Transport } from './packets.ts'
import { type Parameter, readHeaders, readRpc } from './parameters.ts'
import {
  colMetadata,
  DONE,
  doneProc,
  doneToken,
  envBytes,
  envText,
  errorToken,
  returnStatus,
  returnValueInt,
  rowToken,
} from './tokens.ts'
import { type Globals, SqlError, translate } from './translate.ts'
import { BEGINNERS, statements, type Token, tokenize, wordOf } from './tsql.ts'

const NO_TRANSACTION = Buffer.alloc(8)
const DEFAULT_LOCK_TIMEOUT = -1
const TRANSACTION = { begin: 5, commit: 7, rollback: 8, save: 9 } as const
const ISOLATION = ['', 'read uncommitted', 'read committed', 'repeatable read', 'serializable', 'repeatable read']

const DESCRIBE = 'dm_exec_describe_first_result_set'
const HELD = /with \(tablock, holdlock\)/i
const SNAPSHOT = 5
const LOCK_TIMEOUT = 1222
/** Errors that end the transaction as well: the victim of a deadlock, a conflict under SNAPSHOT. */
const ENDS_TRANSACTION = new Set([1205, 3960])

/** Tests name memory-optimized tables so; transactions read them with this hint. */
const IN_MEMORY = /\[in_memory[^\]]*\](?<hint> with \(snapshot\))?/i

/** The growing response to one request: a statement's DONE is held until it is known whether it is the last. */
class Response {
  readonly writer: MessageWriter
  readonly within: boolean
  #pending: { status: number; rows: number | undefined } | undefined

  constructor(transport: Transport, within: boolean) {
    this.writer = new MessageWriter(transport)
    this.within = within
  }

  async done(status: number, rows?: number): Promise<void> {
    await this.#flush(DONE.more)
    this.#pending = { status, rows }
  }

  async write(token: Buffer): Promise<void> {
    await this.#flush(DONE.more)
    await this.writer.write(token)
  }

  async #flush(more: number): Promise<void> {
    const pending = this.#pending
    this.#pending = undefined
    if (pending !== undefined) await this.writer.write(doneToken(pending.status | more, pending.rows, this.within))
  }

  async end(status: number): Promise<void> {
    if (this.within) {
      await this.#flush(DONE.more)
      await this.writer.write(returnStatus((status & DONE.error) === 0 ? 0 : 1))
      await this.writer.write(doneProc(status))
    } else if (this.#pending === undefined) await this.writer.write(doneToken(status))
    else {
      this.#pending.status |= status
      await this.#flush(DONE.final)
    }
    await this.writer.end()
  }
}

/** Whole answers by request, for all sessions of a server. */
export type Replays = Map<string, readonly Buffer[]>

export class Session {
  readonly spid: number
  readonly login: string
  readonly #transport: Transport
  readonly #options: TdsServerOptions
  readonly #faults: Faults
  readonly #journal: Journal
  readonly #encrypted: boolean
  readonly #scheme: string
  readonly #firstDatabase: string
  #backend: Backend
  #database: string
  #busy = false
  #stopping = false
  #cancelling: Promise<void> | undefined
  #transactionCount = 0
  #isSnapshot = false
  #descriptor: Buffer = NO_TRANSACTION
  #savepoints = new Set<string>()
  #rowCount = 0
  #lastError = 0
  #noCount = false
  #lockTimeout = DEFAULT_LOCK_TIMEOUT
  /** The target of INSERT BULK, whose rows arrive in the next message. */
  #bulkTable: readonly Token[] = []
  readonly #replays: Replays
  #prepared = new Map<number, { readonly sql: string }>()

  constructor(
    transport: Transport,
    who: LoggedIn,
    spid: number,
    options: TdsServerOptions,
    faults: Faults,
    journal: Journal,
    replays: Replays,
  ) {
    this.spid = spid
    this.login = who.login
    this.#transport = transport
    this.#options = options
    this.#faults = faults
    this.#journal = journal
    this.#replays = replays
    this.#backend = who.backend
    this.#database = who.database
    this.#firstDatabase = who.database
    this.#encrypted = who.record.encryption === 'tls' || who.record.encryption === 'strict'
    this.#scheme = who.record.authentication === 'sspi' ? 'KERBEROS' : 'SQL'
  }

  async run(): Promise<void> {
    this.#transport.onAttention = () => {
      this.#journal.attentions++
      this.#attention().catch(() => this.#transport.socket.destroy())
    }
    this.#transport.socket.once('close', () => {
      // The client has disconnected, so the statement is cancelled.
      if (this.#busy) this.#backend.cancel().catch(() => undefined)
    })
    try {
      for (let message = await this.#transport.read(); message !== undefined; message = await this.#transport.read()) {
        this.#busy = true
        await this.#answer(message)
        this.#busy = false
        // A cancel in flight must not reach the next statement.
        await this.#cancelling
        if (this.#stopping) await this.#acknowledge()
      }
    } finally {
      this.#transport.onAttention = () => undefined
      await this.#backend.close()
    }
  }

  /** Ends the session as KILL does. */
  kill(): void {
    this.#transport.socket.destroy()
  }

  async #attention(): Promise<void> {
    const fault = this.#faults.take('attention')
    if (fault?.do === 'hang') return
    if (fault?.do === 'cut') {
      this.#transport.socket.end()
      return
    }
    if (fault?.do === 'reset') {
      this.#transport.socket.resetAndDestroy()
      return
    }
    if (fault?.do === 'garble') {
      await this.#transport.writeRaw(Buffer.from(GARBAGE))
      return
    }
    this.#stopping = true
    if (this.#busy) {
      this.#cancelling = this.#backend.cancel()
      await this.#cancelling
    } else if (!this.#transport.hasMessage) await this.#acknowledge()
  }

  /** DONE with the attention bit, in a separate message. */
  async #acknowledge(): Promise<void> {
    this.#stopping = false
    await this.#transport.send(PACKET.response, doneToken(DONE.attention))
  }

  async #answer(message: Message): Promise<void> {
    const key = `${message.type} ${message.reset} ${message.data.toString('latin1')}`
    const known = this.#replays.get(key)
    if (known !== undefined) {
      for (const part of known) await this.#transport.writeRaw(part)
      return
    }
    const within = message.type === PACKET.rpc
    const response = new Response(this.#transport, within)
    response.writer.record = this.#options.replay === true
    if (message.reset !== 'no') {
      await this.#reset(message.reset === 'all')
      await response.write(envBytes('reset', Buffer.alloc(0), Buffer.alloc(0)))
    }
    if (message.ignored) {
      this.#journal.ignored++
      await response.end(DONE.error)
      return
    }
    try {
      const refused = await strike(this.#transport, this.#faults, 'request', 0, message.data.toString('utf16le'))
      if (refused !== undefined) throw refusal(refused)
      switch (message.type) {
        case PACKET.sqlBatch:
          await this.#batch(readHeaders(message.data).rest.toString('utf16le'), [], response)
          break
        case PACKET.rpc:
          await this.#call(message.data, response)
          break
        case PACKET.bulkLoad:
          await this.#bulkLoad(message.data, response)
          break
        case PACKET.transactionManager:
          await this.#transactionRequest(readHeaders(message.data).rest, response)
          break
        default:
          throw new SqlError(4002, 1, 16, `The incoming tabular data stream (TDS) protocol stream is incorrect.`)
      }
    } catch (error) {
      if (!(error instanceof SqlError)) throw error
      if (!this.#stopping) await response.write(errorToken(error, SERVER_NAME))
      if (ENDS_TRANSACTION.has(error.number) && this.#transactionCount > 0) await this.#rollback('', response)
      await response.end(DONE.error)
      return
    }
    const whole = !this.#stopping
    await response.end(whole ? DONE.final : DONE.error)
    if (response.writer.record && whole) this.#replays.set(key, response.writer.recorded)
  }

  async #call(data: Buffer, response: Response): Promise<void> {
    const { procedure, parameters } = readRpc(data)
    switch (procedure.toLowerCase()) {
      case 'sp_executesql': {
        const before = this.#lockTimeout
        const text = parameters[0]?.value ?? ''
        try {
          await this.#batch(text, parameters.slice(2), response)
          // The end of sp_executesql drops its temporary tables and restores its settings.
          for (const name of temporaryTables(text)) {
            await this.#backend.execute(`drop table if exists pg_temp."${name.replaceAll('"', '""')}"`)
          }
          return
        } finally {
          this.#lockTimeout = before
        }
      }
      case 'sp_prepare': {
        const handle = this.#prepared.size + 1
        this.#prepared.set(handle, { sql: parameters[2]?.value ?? '' })
        return response.write(returnValueInt('@handle', handle))
      }
      case 'sp_execute': {
        const prepared = this.#prepared.get(Number(parameters[0]?.value))
        if (prepared === undefined) throw new SqlError(8179, 4, 16, 'Could not find the prepared statement.')
        return this.#batch(prepared.sql, parameters.slice(1), response)
      }
      case 'sp_unprepare':
        this.#prepared.delete(Number(parameters[0]?.value))
        return
      default:
        throw new SqlError(2812, 62, 16, `Could not find stored procedure '${procedure}'.`)
    }
  }

  async #bulkLoad(data: Buffer, response: Response): Promise<void> {
    const { columns, rows } = readBulkLoad(data)
    const names = columns.map((name) => `[${name.replaceAll(']', ']]')}]`).join(', ')
    const places = columns.map((_, index) => `@p${index}`).join(', ')
    const tokens = [...tokenize('insert into '), ...this.#bulkTable, ...tokenize(` (${names}) values (${places})`)]
    for (const row of rows) {
      const answer = await this.#backend.run(translate(tokens, row, this.#globals()))
      await answer.read()
      await answer.close()
    }
    await response.done(DONE.final, rows.length)
  }

  async #batch(sql: string, parameters: readonly Parameter[], response: Response): Promise<void> {
    this.#journal.requests.push(sql)
    // Variables of DECLARE last until the batch ends.
    const variables = [...parameters]
    for (const statement of statements(tokenize(sql))) {
      if (this.#stopping) return
      try {
        await this.#statement(statement, variables, response)
        this.#lastError = 0
      } catch (error) {
        // In SQL Server most errors end only their statement; here only the one that tests read by @@ERROR does.
        if (!(error instanceof SqlError) || error.number !== LOCK_TIMEOUT || this.#stopping) throw error
        this.#lastError = error.number
        await response.write(errorToken(error, SERVER_NAME))
        await response.done(DONE.error)
      }
    }
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
    switch (first) {
      case 'set':
        if (second === 'nocount') this.#noCount = wordOf(words[2]) === 'on'
        if (second === 'lock_timeout') {
          const sign = words.some((word) => word.text === '-') ? -1 : 1
          this.#lockTimeout = sign * (numbers[0] ?? 0)
        }
        return
      case 'insert': {
        if (second !== 'bulk') break
        const from = tokens.findIndex((token) => wordOf(token) === 'bulk') + 1
        const to = tokens.findIndex((token, index) => index > from && token.text === '(')
        this.#bulkTable = tokens.slice(from, to)
        return
      }
      case 'begin':
        if (second?.startsWith('tran')) return this.#begin(response)
        break
      case 'commit':
        return this.#commit(response)
      case 'rollback':
        return this.#rollback(words[2]?.text ?? '', response)
      case 'save':
        return this.#save(words[2]?.text ?? '')
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
        await this.#backend.execute(`select pg_sleep(${hours * 3600 + minutes * 60 + seconds})`)
        return
      }
      case 'if':
        return this.#conditional(tokens, parameters, response)
      case 'declare':
        parameters.push({ name: words[1]?.text ?? '', cast: words[2]?.text, value: null })
        return
      case 'exec':
      case 'execute':
        if (words.some((word) => /^sp_(get|release)applock$/i.test(word.text))) {
          return this.#applicationLock(words, parameters)
        }
        throw new SqlError(2812, 62, 16, `Could not find stored procedure '${words[1]?.text}'.`)
    }
    await this.#query(tokens, parameters, response)
  }

  /** sp_getapplock and sp_releaseapplock for the session, without waiting. */
  async #applicationLock(words: readonly Token[], parameters: Parameter[]): Promise<void> {
    const named = (name: string): string => {
      const at = words.findIndex((word) => word.kind === 'variable' && word.text === name)
      const given = words[at + 2]
      const value = parameters.find((one) => one.name === given?.text)?.value
      return value ?? given?.text.replace(/^'|'$/g, '') ?? ''
    }
    const resource = named('Resource')
    if (resource.length === 0 || resource.length > 255 || named('LockOwner') !== 'Session') {
      throw new SqlError(15600, 1, 15, 'An invalid parameter or option was specified for procedure sp_getapplock.')
    }
    const releases = words.some((word) => /^sp_releaseapplock$/i.test(word.text))
    const call = releases ? 'pg_advisory_unlock' : 'pg_try_advisory_lock'
    const answer = await this.#backend.run({ text: `select ${call}(hashtext($1))`, values: [resource] })
    const [row] = await answer.read()
    await answer.close()
    const variable = words[1]?.kind === 'variable' ? words[1].text : undefined
    const at = parameters.findIndex((one) => one.name === variable)
    const found = parameters[at]
    if (found !== undefined) parameters[at] = { ...found, value: row?.[0] === 't' ? '0' : '-1' }
  }

  /** A shared lock on a whole table, until the transaction ends. */
  async #lockTable(tokens: readonly Token[]): Promise<void> {
    const words = tokens.filter((token) => token.kind !== 'space')
    const from = words.findIndex((word) => wordOf(word) === 'from')
    const names = [words[from + 1], words[from + 3]].map((word) => `"${(word?.text ?? '').replaceAll('"', '""')}"`)
    await this.#backend.execute(`set local lock_timeout = ${Math.max(0, this.#lockTimeout)}`)
    await this.#backend.execute(`lock table ${names.join('.')} in share mode`)
  }

  /** Makes a view of the statement, whose columns are read next, or records the statement's error. */
  async #describe(tokens: readonly Token[], parameters: readonly Parameter[]): Promise<void> {
    const at = tokens.findIndex((token) => wordOf(token) === 'dm_exec_describe_first_result_set')
    const given = tokens.slice(at).filter((token) => token.kind === 'variable')
    const [statement = '', declared = ''] = given.map(
      ({ text }) => parameters.find((one) => one.name === text)?.value ?? '',
    )
    const variables = [...declared.matchAll(/@(\w+)/g)].map(([, name = '']) => ({ name, cast: undefined, value: null }))
    await this.#backend.execute("select set_config('mssql.error_number', '', false)")
    const make = async (text: string): Promise<void> => {
      await this.#backend.execute('drop view if exists pg_temp.tds_described')
      await this.#backend.execute(`create temporary view tds_described as ${text.replace(/\$\d+/g, 'null')}`)
    }
    const inTransaction = this.#transactionCount > 0
    if (inTransaction) await this.#backend.execute('savepoint tds_describe')
    try {
      await make(translate(tokenize(statement), variables, this.#globals()).text)
    } catch (error) {
      if (!(error instanceof SqlError)) throw error
      if (inTransaction) await this.#backend.execute('rollback to savepoint tds_describe')
      await make('select 1 as error')
      const message = error.message.replaceAll("'", "''")
      await this.#backend.execute(
        `select set_config('mssql.error_number', '${error.number}', false), set_config('mssql.error_message', '${message}', false)`,
      )
    }
  }

  /** PRINT takes an expression; `+` joins texts. */
  async #print(tokens: readonly Token[], parameters: readonly Parameter[], response: Response): Promise<void> {
    const joined = tokens.map((token) => (token.text === '+' ? { ...token, text: '||' } : token))
    const message = (await this.#scalar(joined, parameters)) ?? ' '
    await response.write(errorToken({ number: 0, state: 1, class: 0, message }, SERVER_NAME, true))
  }

  async #scalar(tokens: readonly Token[], parameters: readonly Parameter[]): Promise<string | null> {
    const expression = translate(tokens, parameters, this.#globals())
    const answer = await this.#backend.run({ ...expression, text: `select (${expression.text})` })
    const [row] = await answer.read()
    await answer.close()
    return row?.[0] ?? null
  }

  /** `IF condition statement`: PostgreSQL evaluates the condition. */
  async #conditional(tokens: readonly Token[], parameters: Parameter[], response: Response): Promise<void> {
    let depth = 0
    const start = tokens.findIndex((token, index) => {
      if (token.kind === 'symbol' && token.text === '(') depth++
      if (token.kind === 'symbol' && token.text === ')') depth--
      return index > 0 && depth === 0 && BEGINNERS.has(wordOf(token) ?? '')
    })
    const holds = await this.#scalar(tokens.slice(1, start), parameters)
    if (holds === 't') await this.#statement(tokens.slice(start), parameters, response)
  }

  async #query(tokens: readonly Token[], parameters: readonly Parameter[], response: Response): Promise<void> {
    if (tokens.some((token) => wordOf(token) === DESCRIBE)) await this.#describe(tokens, parameters)
    const plain = tokens.map((token) => token.text).join('')
    if (this.#transactionCount > 0) this.#refuseInMemory(plain)
    const translated = translate(tokens, parameters, this.#globals())
    // In SQL Server a failed statement does not end the transaction around it.
    const guarded = this.#transactionCount > 0
    if (guarded) await this.#backend.execute('savepoint tds_statement')
    let answer: Answer | undefined
    try {
      if (guarded && HELD.test(plain)) await this.#lockTable(tokens)
      answer = await this.#backend.run(translated)
      if (answer.columns.length > 0) await response.write(colMetadata(answer.columns))
      let sent = 0
      for (let rows = await answer.read(); rows.length > 0 && !this.#stopping; rows = await answer.read()) {
        if (answer.columns.length === 0) break
        for (const row of rows) {
          if (this.#faults.has('rows')) {
            await response.writer.flush()
            const refused = await strike(this.#transport, this.#faults, 'rows', sent)
            if (refused !== undefined) throw refusal(refused)
          }
          await response.write(rowToken(answer.columns, row))
          sent++
          if (this.#stopping || this.#transport.closed) break
        }
        if (this.#transport.closed) break
      }
      if (this.#stopping || this.#transport.closed) await answer.close()
      const count = answer.rowCount()
      if (count !== undefined) this.#rowCount = count
      await response.done(DONE.final, this.#noCount ? undefined : count)
    } catch (error) {
      // Unread rows would block the next statement.
      await answer?.close()
      if (guarded) await this.#backend.execute('rollback to savepoint tds_statement')
      throw error
    }
    if (guarded) await this.#backend.execute('release savepoint tds_statement')
  }

  #refuseInMemory(text: string): void {
    const named = IN_MEMORY.exec(text)
    if (named === null) return
    if (this.#isSnapshot) {
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

  #globals(): Globals {
    return {
      version: `Microsoft SQL Server 2022 (${VERSION.join('.')}.0) - ${PROGRAM}`,
      serverName: SERVER_NAME,
      spid: this.spid,
      transactionCount: this.#transactionCount,
      rowCount: this.#rowCount,
      lastError: this.#lastError,
      lockTimeout: this.#lockTimeout,
      login: this.login,
      database: this.#database,
      encrypted: this.#encrypted,
      scheme: this.#scheme,
    }
  }

  async #transactionRequest(data: Buffer, response: Response): Promise<void> {
    const kind = data.readUInt16LE(0)
    const name = (at: number): string => data.subarray(at + 1, at + 1 + (data[at] ?? 0) * 2).toString('utf16le')
    switch (kind) {
      case TRANSACTION.begin:
        this.#isSnapshot = data[2] === SNAPSHOT
        return this.#begin(response, ISOLATION[data[2] ?? 0])
      case TRANSACTION.commit:
        return this.#commit(response)
      case TRANSACTION.rollback:
        return this.#rollback(name(2), response)
      case TRANSACTION.save:
        return this.#save(name(2))
      default:
        throw new SqlError(3980, 1, 16, `Transaction manager request ${kind} is not known here.`)
    }
  }

  async #begin(response: Response, isolation = ''): Promise<void> {
    this.#transactionCount++
    if (this.#transactionCount > 1) return
    await this.#backend.execute(isolation === '' ? 'begin' : `begin isolation level ${isolation}`)
    this.#descriptor = randomBytes(8)
    await response.write(envBytes('begin', this.#descriptor, Buffer.alloc(0)))
  }

  async #commit(response: Response): Promise<void> {
    if (this.#transactionCount === 0) {
      throw new SqlError(3902, 1, 16, 'The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.')
    }
    this.#transactionCount--
    if (this.#transactionCount > 0) return
    await this.#backend.execute('commit')
    await response.write(envBytes('commit', Buffer.alloc(0), this.#descriptor))
    this.#ended()
  }

  async #rollback(name: string, response: Response): Promise<void> {
    if (this.#transactionCount === 0) {
      throw new SqlError(3903, 1, 16, 'The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.')
    }
    if (this.#savepoints.has(name)) {
      await this.#backend.execute(`rollback to savepoint "${name}"`)
      return
    }
    await this.#backend.execute('rollback')
    await response.write(envBytes('rollback', Buffer.alloc(0), this.#descriptor))
    this.#ended()
  }

  #ended(): void {
    this.#transactionCount = 0
    this.#descriptor = NO_TRANSACTION
    this.#savepoints.clear()
  }

  async #save(name: string): Promise<void> {
    await this.#backend.execute(`savepoint "${name}"`)
    this.#savepoints.add(name)
  }

  async #use(database: string, response: Response): Promise<void> {
    const backend = await Backend.connect(backendConfig(this.#options, database), () => this.kill()).catch(() => {
      throw new SqlError(
        911,
        1,
        16,
        `Database '${database}' does not exist. Make sure that the name is entered correctly.`,
      )
    })
    await this.#backend.close()
    this.#backend = backend
    await response.write(envText('database', database, this.#database))
    this.#database = database
  }

  /** RESETCONNECTION: restores the state after the login. */
  async #reset(rollback: boolean): Promise<void> {
    this.#journal.resets++
    if (rollback && this.#transactionCount > 0) {
      await this.#backend.execute('rollback')
      this.#ended()
    }
    if (this.#database !== this.#firstDatabase) {
      await this.#backend.close()
      this.#backend = await Backend.connect(backendConfig(this.#options, this.#firstDatabase), () => this.kill())
      this.#database = this.#firstDatabase
    } else if (this.#transactionCount === 0) await this.#backend.discard()
    this.#lockTimeout = DEFAULT_LOCK_TIMEOUT
    this.#noCount = false
    this.#rowCount = 0
    this.#prepared.clear()
  }
}

/** The temporary tables that a text creates. */
function temporaryTables(text: string): string[] {
  const words = tokenize(text).filter((token) => token.kind !== 'space')
  return words
    .filter(({ text: name }, index) => {
      const [first, second] = [wordOf(words[index - 2]), wordOf(words[index - 1])]
      return name.startsWith('#') && (second === 'table' ? first === 'create' : second === 'into' && first !== 'insert')
    })
    .map((token) => token.text)
}
