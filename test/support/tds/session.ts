/** Part of the TDS server test double: the requests of one logged-in client (MS-TDS 3.3.5.6 and after). */

import { Batches, type BatchSurroundings } from './batches.ts'
import { readBulkLoad } from './bulk.ts'
import { Calls } from './calls.ts'
import type { Faults } from './faults.ts'
import { type LoggedIn, SERVER_NAME } from './login.ts'
import type { Journal, TdsServerOptions } from './options.ts'
import { type Message, PACKET, type Transport } from './packets.ts'
import { readHeaders } from './parameters.ts'
import { Response } from './response.ts'
import { GARBAGE, refusal, strike } from './strike.ts'
import { DONE, doneToken, envBytes, errorToken } from './tokens.ts'
import { SqlError, translate } from './translate.ts'
import { tokenize } from './tsql.ts'

/** Errors that end the transaction as well: the victim of a deadlock, a conflict under SNAPSHOT. */
const ENDS_TRANSACTION = new Set([1205, 3960])

/** Whole answers by request, for all sessions of a server. */
export type Replays = Map<string, readonly Buffer[]>

/** The sessions of a connection share its transaction and its settings, and take turns. */
export class Connected {
  readonly batches: Batches
  #last: Promise<unknown> = Promise.resolve()

  constructor(
    { login, record, utf8, backend, database }: LoggedIn,
    surroundings: Pick<BatchSurroundings, 'spid' | 'options' | 'faults' | 'journal' | 'kill'>,
  ) {
    const { encryption, authentication } = record
    const facts = {
      ...surroundings,
      login,
      utf8,
      encrypted: encryption === 'tls' || encryption === 'strict',
      scheme: authentication === 'sspi' ? 'KERBEROS' : 'SQL',
    }
    this.batches = new Batches(facts, backend, database)
  }

  /** Runs one thing after the other. */
  inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work)
    this.#last = done.catch(() => undefined)
    return done
  }
}

export class Session {
  readonly #transport: Transport
  readonly #options: TdsServerOptions
  readonly #faults: Faults
  readonly #journal: Journal
  #state: 'idle' | 'waiting' | 'running' = 'idle'
  #stopping = false
  #cancelling: Promise<void> | undefined
  readonly #connected: Connected
  readonly #batches: Batches
  readonly #replays: Replays
  readonly #calls: Calls

  constructor(
    transport: Transport,
    connected: Connected,
    options: TdsServerOptions,
    faults: Faults,
    journal: Journal,
    replays: Replays,
  ) {
    this.#transport = transport
    this.#connected = connected
    this.#options = options
    this.#faults = faults
    this.#journal = journal
    this.#replays = replays
    this.#batches = connected.batches
    this.#calls = new Calls(this.#batches)
  }

  async run(): Promise<void> {
    this.#transport.onAttention = () => {
      this.#journal.attentions++
      this.#attention().catch(() => this.#transport.socket.destroy())
    }
    this.#transport.socket.once('close', () => {
      // The client has disconnected, so the statement is cancelled.
      if (this.#state === 'running') this.#batches.backend.cancel().catch(() => undefined)
    })
    try {
      for (let message = await this.#transport.read(); message !== undefined; message = await this.#transport.read()) {
        this.#state = 'waiting'
        await this.#connected.inTurn(async () => {
          this.#state = 'running'
          await this.#answer(message)
          this.#state = 'idle'
          // A cancel in flight must not reach the next statement.
          await this.#cancelling
        })
        if (this.#stopping) await this.#acknowledge()
      }
    } finally {
      this.#transport.onAttention = () => undefined
    }
  }

  async #attention(): Promise<void> {
    const fault = this.#faults.take('attention')
    if (fault?.do === 'hang') return
    if (fault?.do === 'cut') {
      this.#transport.end()
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
    if (this.#state === 'running') {
      this.#cancelling = this.#batches.backend.cancel()
      await this.#cancelling
    } else if (this.#state === 'idle' && !this.#transport.hasMessage) await this.#acknowledge()
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
    const response = new Response(this.#transport, within, () => this.#stopping)
    response.writer.record = this.#options.replay === true
    if (message.reset !== 'no') {
      this.#journal.resets++
      this.#calls.forget()
      await this.#batches.reset(message.reset === 'all')
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
          await this.#batches.run(readHeaders(message.data).rest.toString('utf16le'), [], response)
          break
        case PACKET.rpc:
          await this.#calls.answer(message.data, response)
          break
        case PACKET.bulkLoad:
          await this.#bulkLoad(message.data, response)
          break
        case PACKET.transactionManager:
          await this.#batches.transactions.request(readHeaders(message.data).rest, response)
          break
        default:
          throw new SqlError(4002, 1, 16, `The incoming tabular data stream (TDS) protocol stream is incorrect.`)
      }
    } catch (error) {
      if (!(error instanceof SqlError)) throw error
      if (!this.#stopping) await response.write(errorToken(error, SERVER_NAME))
      if (ENDS_TRANSACTION.has(error.number) && this.#batches.transactions.count > 0)
        await this.#batches.transactions.rollback('', response)
      await response.end(DONE.error)
      return
    }
    const whole = !this.#stopping
    await response.end(whole ? DONE.final : DONE.error)
    if (response.writer.record && whole) this.#replays.set(key, response.writer.recorded)
  }

  async #bulkLoad(data: Buffer, response: Response): Promise<void> {
    const { columns, rows } = readBulkLoad(data)
    const names = columns.map((name) => `[${name.replaceAll(']', ']]')}]`).join(', ')
    const places = columns.map((_, index) => `@p${index}`).join(', ')
    const tokens = [
      ...tokenize('insert into '),
      ...this.#batches.bulkTable,
      ...tokenize(` (${names}) values (${places})`),
    ]
    for (const row of rows) {
      const answer = await this.#batches.backend.run(translate(tokens, row, this.#batches.globals()))
      await answer.read()
      await answer.close()
    }
    await response.done(DONE.final, rows.length)
  }
}
