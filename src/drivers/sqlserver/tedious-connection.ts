/**
 * tedious' Connection with what it lacks.
 *
 * - It begins on a stream from secure-stream.ts: PRELOGIN and the TLS handshake have been completed.
 * - The phases of a login are reported as they begin.
 * - A GSS token goes out in LOGIN7 and the server's come back, without tedious' code for NTLM being entered.
 * - Under `encrypt=false` the login goes through TLS, as with Microsoft's drivers; stock tedious sends the password in
 *   the clear.
 * - All bytes that arrive must be packets of a TDS server; anything else ends the attempt at once.
 */

import { EventEmitter } from 'node:events'
import type { Connection, ConnectionConfiguration } from 'tedious'
import { orAbort } from '../../abort.ts'
import type { KerberosInfo } from '../driver.ts'
import type { StatementWatcher } from '../statement-watch.ts'
import type { Whereabouts } from '../whereabouts.ts'
import { clientIdentity } from './client-identity.ts'
import { explainTo } from './explain-request.ts'
import { Greeting, INTRODUCTION, ROLE_QUESTION } from './greeting.ts'
import { withClient, withSspi } from './login-bytes.ts'
import { finishLogin, type LoginContext, type LoginExchange } from './login-exchange.ts'
import { PacketGuard } from './packet-guard.ts'
import { type RowMode, rowModeFor } from './row-reader.ts'
import type { SecureStream } from './secure-stream.ts'
import { SilenceWatch } from './silence.ts'
import type { SspiProvider } from './sspi.ts'
import { type LoginHandler, loadTediousParts, MessageLine, operationOf, refusesBindings } from './tedious-internals.ts'
import { tellRequest } from './tell-request.ts'
import { tokenParserFactory } from './token-parser.ts'
import { watchRequest } from './watch-request.ts'

/** The level that a session begins with, and a transaction that says nothing (MS-TDS 2.2.6.9). */
const READ_COMMITTED = 2

/** The parts of a login that tedious' configuration does not have. */
export interface LoginPlan {
  /** The stream that the connector has made ready, for the server that we have been sent to last. */
  readonly secured: () => SecureStream
  readonly enter: (phase: 'gss' | 'login') => void
  /** How long the server may be silent in the middle of an answer; undefined for no limit. */
  readonly silenceLimitMillis: number | undefined
  /** The row mode of requests that set none, such as those of other packages. Default: tedious' own. */
  readonly rowMode?: RowMode
  /** Whether the server has a name for the user that we do not know: every login but one by name and password. */
  readonly asksUser: boolean
  /** Whether the first batch asks if the database can be written. */
  readonly asksRole: boolean
  /** SET LANGUAGE. Undefined: the login's own language. */
  readonly language: string | undefined
  /** For a login by Kerberos or NTLM: the exchange with the given server. */
  readonly sspi: ((host: string, port: number | undefined, signal: AbortSignal) => Promise<SspiProvider>) | undefined
}

export interface SqlServerConnection extends Connection {
  /** Facts about the server and the session, as the server reports them. */
  readonly greeting: Greeting
  /** Both ends of a login by Kerberos. */
  readonly kerberos: KerberosInfo | undefined
  /** Requests made so far. */
  readonly requestCount: number
  /** Whether a `Date` is bound as UTC, or in the time zone of this process. */
  readonly usesUtc: boolean
  /** Whether the last transaction was rolled back; false while it is open, and when a statement has committed it. */
  rolledBack: boolean
  /** Whether a transaction has left its isolation level to the statements after it, as SQL Server does. */
  isolationLeft: boolean
  /** Gives what a request is told of an error; for a data layer that makes its own requests. */
  explain: ((error: Error) => Error) | undefined
  /** Where the session goes, for traces of its requests; undefined before it is open. */
  place: Whereabouts | undefined
  /** Is told of its requests. */
  watcher: StatementWatcher | undefined
}

type ConnectionClass = new (config: ConnectionConfiguration, plan: LoginPlan) => SqlServerConnection

let loading: Promise<ConnectionClass> | undefined

/** @throws PoolsmithError PACKAGE_MISSING, DRIVER_INCOMPATIBLE */
export function loadConnectionClass(): Promise<ConnectionClass> {
  loading ??= buildClass().catch((error: unknown) => {
    loading = undefined
    throw error
  })
  return loading
}

async function buildClass(): Promise<ConnectionClass> {
  const parts = await loadTediousParts()
  const { Login7TokenHandler, RequestError } = parts
  const tokenParser = tokenParserFactory(parts)

  class PoolsmithConnection extends parts.Connection {
    readonly #plan: LoginPlan
    readonly greeting = new Greeting()
    #kerberos: KerberosInfo | undefined
    #requests = 0
    rolledBack = false
    isolationLeft = false
    explain: ((error: Error) => Error) | undefined
    place: Whereabouts | undefined
    watcher: StatementWatcher | undefined
    readonly #silence: SilenceWatch | undefined
    #line: MessageLine | undefined
    #guard: PacketGuard | undefined
    #stands = false
    /** The end of the first batch. */
    #questions: readonly string[] = []

    constructor(config: ConnectionConfiguration, plan: LoginPlan) {
      super(config)
      this.#plan = plan
      this.once('connect', (error) => {
        // tedious keeps the secrets for a second login, which never takes place.
        this.config.authentication = { type: 'default', options: {} }
        if (error !== undefined) return
        this.#stands = true
        this.#guard?.liftLimit()
      })
      // tedious may emit several errors for one failed login; its own listener is removed after the first.
      this.on('error', () => undefined)
      ;(this as EventEmitter).on('rollbackTransaction', () => {
        this.rolledBack = true
      })
      const { silenceLimitMillis: limitMillis } = plan
      if (limitMillis === undefined) return
      this.#silence = new SilenceWatch({
        limitMillis,
        state: () => (this.request === undefined ? 'idle' : this.request.paused === true ? 'paused' : 'running'),
        onSilence: () => this.#giveUp(limitMillis),
      })
    }

    /** As tedious' own time limit does, which ends with the first piece of an answer. */
    #giveUp(limitMillis: number): void {
      const { request } = this
      if (request === undefined || request.canceled) return
      request.cancel()
      request.error = new RequestError(`Timeout: the server has said nothing for ${limitMillis} ms`, 'ETIMEOUT')
    }

    get kerberos(): KerberosInfo | undefined {
      return this.#kerberos
    }

    get requestCount(): number {
      return this.#requests
    }

    get usesUtc(): boolean {
      return this.config.options.useUTC !== false
    }

    /** The first step on a new stream; PRELOGIN was exchanged before. */
    override sendPreLogin(): void {
      const line = new MessageLine(this)
      const guard = new PacketGuard(this)
      const silence = this.#silence
      line.watch((chunk) => {
        silence?.heard()
        guard.accept(chunk)
      })
      line.watchPacketSize((size) => guard.grant(size))
      const { loginTls } = this.#plan.secured()
      if (loginTls !== undefined) line.writeTo(loginTls.stream)
      this.#line = line
      this.#guard = guard
    }

    override async readPreloginResponse(): Promise<undefined> {
      return undefined
    }

    override async performTlsNegotiation(): Promise<void> {
      this.fedAuthRequired = this.#plan.secured().fedAuthRequired
    }

    override sendLogin7Packet(): void {
      // A login by Kerberos or NTLM waits for its token first; see below.
      if (this.#plan.sspi !== undefined) return
      this.#plan.enter('login')
      this.#sendLogin((data) => data)
    }

    #sendLogin(edit: (data: Buffer) => Buffer): void {
      this.#messages().editing(
        (data) => edit(withClient(data, clientIdentity())),
        () => super.sendLogin7Packet(),
      )
    }

    override async performSentLogin7WithStandardLogin(signal: AbortSignal): Promise<unknown> {
      const { sspi, enter } = this.#plan
      if (sspi === undefined) return this.#finishLogin(undefined, signal)
      enter('gss')
      const { server, port } = this.#place
      const provider = await orAbort(sspi(server, port, this.closeController.signal), signal, (late) => late.close?.())
      try {
        const first = await orAbort(provider.step(), signal)
        enter('login')
        this.#sendLogin((data) => withSspi(data, first.output ?? Buffer.alloc(0)))
        return await this.#finishLogin({ provider, complete: first.complete }, signal)
      } finally {
        provider.close?.()
      }
    }

    /** The server that the login is with. */
    get #place(): { readonly server: string; readonly port: number | undefined } {
      return this.routingData ?? { server: this.config.server, port: this.config.options.port }
    }

    async #finishLogin(context: LoginContext | undefined, signal: AbortSignal): Promise<unknown> {
      const untilClosed = this.closeController.signal
      const exchange: LoginExchange = {
        line: this.#messages(),
        host: this.#place.server,
        isStrict: typeof this.#plan.secured().tls?.alpnProtocol === 'string',
        enter: this.#plan.enter,
        endLoginTls: () => this.#endLoginTls(),
        parse: (tokens) => this.#parse(tokens, untilClosed),
        signal,
        untilClosed,
      }
      const { routing, kerberos } = await finishLogin(exchange, context)
      this.#kerberos = kerberos
      return routing
    }

    async #parse(tokens: Buffer, signal: AbortSignal): Promise<LoginHandler> {
      const handler = new Login7TokenHandler(this)
      const parser = this.createTokenStreamParser([tokens], handler)
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      parser.once('end', resolve)
      parser.once('error', reject)
      await orAbort(promise, signal)
      return handler
    }

    /**
     * After a login that TLS alone covered, all goes in plain: the server's answers from the first on, and ours from the
     * message after the login on, when every byte of the login is on its way.
     */
    #endLoginTls(): void {
      const { loginTls } = this.#plan.secured()
      if (loginTls === undefined || loginTls.stream.destroyed) return
      this.#messages().writeTo()
      loginTls.leave()
    }

    #messages(): MessageLine {
      if (this.#line === undefined) throw new TypeError('The connection has no stream yet.')
      return this.#line
    }

    override sendInitialSql(): void {
      this.#endLoginTls()
      this.greeting.processId = this.#guard?.sessionId
      const { asksUser, asksRole } = this.#plan
      this.#questions = [...(asksUser ? [INTRODUCTION] : []), ...(asksRole ? [ROLE_QUESTION] : [])]
      let unanswered = this.#questions.length
      const onInfo = ({ message }: { message: string }): void => {
        if (this.greeting.answered(message) && --unanswered === 0) this.off('infoMessage', onInfo)
      }
      if (unanswered > 0) this.on('infoMessage', onInfo)
      super.sendInitialSql()
      this.#questions = []
    }

    /** Also sent with a reset, which asks nothing. */
    override getInitialSql(): string {
      const { language } = this.#plan
      return [
        super.getInitialSql(),
        language === undefined ? undefined : `set language N'${language.replaceAll("'", "''")}'`,
        ...this.#questions,
      ]
        .filter((line) => line !== undefined)
        .join('\n')
    }

    #hearVersion(handler: LoginHandler): void {
      const { onLoginAck } = handler
      handler.onLoginAck = (token) => {
        this.greeting.acknowledged(token)
        onLoginAck.call(handler, token)
      }
    }

    override createTokenStreamParser(message: unknown, handler: unknown): NodeJS.EventEmitter {
      if (handler instanceof Login7TokenHandler) this.#hearVersion(handler)
      const kind = this.#stands ? 'statement' : 'login'
      const mode = rowModeFor(handler, this.#plan.rowMode)
      const parser = tokenParser(message, this.debug, handler, this.config.options, { kind, mode })
      if (kind === 'statement') this.#guardEnd(parser)
      return parser
    }

    /**
     * How the reading of an answer ends. tedious' own listeners fail, and the process with them, when the connection
     * has been closed in the meantime, and when the answer to a cancelled statement is damaged.
     */
    #guardEnd(parser: NodeJS.EventEmitter): void {
      const { emit } = parser
      parser.emit = (event, ...given) => {
        if (this.closed) return false
        if (event !== 'error') return emit.call(parser, event, ...given)
        this.messageIo.socket.destroy(given[0])
        return true
      }
    }

    override cleanupConnection(): void {
      this.#silence?.stop()
      super.cleanupConnection()
      // A rollback would fail and hide the error that ended the session.
      this.inTransaction = false
    }

    override beginTransaction(...given: Parameters<Connection['beginTransaction']>): void {
      const [, , isolationLevel = READ_COMMITTED] = given
      this.rolledBack = false
      this.isolationLeft = isolationLevel !== READ_COMMITTED
      super.beginTransaction(...given)
    }

    override makeRequest(request: object, type: number, payload: object): void {
      if (refusesBindings(request, type, payload)) return
      if (this.watcher !== undefined && !watchRequest(request, type, payload, this.watcher)) return
      this.#requests++
      if (this.request === undefined) this.#guard?.asked()
      if (this.#silence !== undefined && request instanceof EventEmitter) {
        // Once for a request that is made again.
        request.off('resume', this.#silence.heard).on('resume', this.#silence.heard)
      }
      if (this.place !== undefined) tellRequest(request, this.execSql, this.place, payload)
      if (this.explain !== undefined) {
        const isCommit = !this.closed && operationOf(request, type, payload)?.name === 'commit'
        explainTo(request, this.explain, isCommit)
      }
      super.makeRequest(request, type, payload)
    }
  }

  return PoolsmithConnection as unknown as ConnectionClass
}
