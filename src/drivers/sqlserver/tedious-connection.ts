/**
 * tedious' Connection with what it lacks.
 *
 * - The phases of a login are told as they begin.
 * - A GSS token goes out in LOGIN7 and the server's come back, without tedious' code for NTLM being entered.
 * - `encrypt=false` encrypts the login, as Microsoft's drivers do; stock tedious sends the password in the clear.
 * - What answers must begin like a TDS server; anything else ends the attempt at once instead of at its limit.
 */

import type { X509Certificate } from 'node:crypto'
import { EventEmitter } from 'node:events'
import type { TLSSocket } from 'node:tls'
import type { Connection, ConnectionConfiguration } from 'tedious'
import { orAbort } from '../../abort.ts'
import type { KerberosInfo } from '../driver.ts'
import { ENCRYPT_OFF, splitLoginReply, withEncryption, withSspi } from './login-bytes.ts'
import { kerberosAlone, notOffered, passwordExposed, unproven } from './login-errors.ts'
import { PacketGuard } from './packet-guard.ts'
import { type RowMode, rowModeFor, rowParserFactory } from './row-reader.ts'
import { SilenceWatch } from './silence.ts'
import type { SspiProvider } from './sspi.ts'
import {
  type InternalConnection,
  type LoginHandler,
  loadTediousParts,
  type PreloginAnswer,
} from './tedious-internals.ts'
import { assertOnly } from './tls-settings.ts'

/** MS-TDS 2.2.3.1.1. */
const SSPI_PACKET = 0x11

/** The level that a session begins with, and a transaction that says nothing (MS-TDS 2.2.6.9). */
const READ_COMMITTED = 2

/** What a login needs besides tedious' own configuration. */
export interface LoginPlan {
  readonly encrypt: 'true' | 'false' | 'strict'
  readonly trust: boolean
  /** The only certificate that is taken, unless every one is. */
  readonly only: X509Certificate | undefined
  /** The name that the certificate must hold, for the server that we are being sent to. */
  readonly certificateHost: (host: string) => string
  readonly enter: (phase: 'tls' | 'gss' | 'login') => void
  /** Whether the login holds a secret that must not be read on the way. */
  readonly secret: 'password' | 'token' | undefined
  /** How long the server may be silent in the middle of an answer; undefined for no limit. */
  readonly silenceLimitMillis: number | undefined
  /** How rows are given to a request that does not say it itself, such as one of somebody else's code. Default: tedious' own way. */
  readonly rowMode?: RowMode
  /** For a login by Kerberos: the context towards the given server. */
  readonly sspi?: (host: string, port: number | undefined, signal: AbortSignal) => Promise<SspiProvider>
}

/** How the session ended up protected. */
export interface Protection {
  readonly kind: 'none' | 'login-only' | 'tls'
  /** The TLS session inside TDS; under `strict` it is the socket itself. */
  readonly tls: TLSSocket | undefined
}

export interface SqlServerConnection extends Connection {
  readonly protection: Protection
  /** What the server says about itself and the session. */
  readonly greeting: Greeting
  /** Both ends of a login by Kerberos. */
  readonly kerberos: KerberosInfo | undefined
  /** Requests made so far. */
  readonly requestCount: number
  /** Whether a transaction has left its isolation level to the statements after it, as SQL Server does. */
  isolationLeft: boolean
}

export interface Greeting {
  readonly processId: number | undefined
  readonly user: string | undefined
  readonly version: string | undefined
}

/** What answers does not speak TDS. */
export class NotSqlServer extends Error {
  override readonly name = 'NotSqlServer'
}

/** Asked for with the statements that tedious sends anyway; the answer is a message, not a result. */
const INTRODUCTION = "print N'poolsmith:' + cast(@@spid as nvarchar(10)) + N':' + coalesce(suser_sname(), N'')"

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
  const stock = parts.Connection as new (config: ConnectionConfiguration) => InternalConnection
  const StockHandler = parts.Login7TokenHandler as new (connection: unknown) => LoginHandler
  const RequestError = parts.RequestError as new (message: string, code: string) => Error
  const rowParser = rowParserFactory(parts)

  class PoolsmithConnection extends stock {
    readonly #plan: LoginPlan
    #protection: Protection = { kind: 'none', tls: undefined }
    #greeting: Greeting = { processId: undefined, user: undefined, version: undefined }
    #kerberos: KerberosInfo | undefined
    #requests = 0
    isolationLeft = false
    readonly #silence: SilenceWatch | undefined

    constructor(config: ConnectionConfiguration, plan: LoginPlan) {
      super(config)
      this.#plan = plan
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

    get protection(): Protection {
      return this.#protection
    }

    get greeting(): Greeting {
      return this.#greeting
    }

    get kerberos(): KerberosInfo | undefined {
      return this.#kerberos
    }

    get requestCount(): number {
      return this.#requests
    }

    override sendPreLogin(): void {
      this.#plan.enter(this.#plan.encrypt === 'true' ? 'tls' : 'login')
      this.#watchPackets()
      if (this.#plan.encrypt !== 'false') super.sendPreLogin()
      else
        this.#editing(
          (data) => withEncryption(data, ENCRYPT_OFF),
          () => super.sendPreLogin(),
        )
    }

    /** Ends the connection at bytes that are no packet; everything comes through here, out of TLS or not. */
    #watchPackets(): void {
      const { socket, incomingMessageStream } = this.messageIo
      const guard = new PacketGuard()
      const transform = incomingMessageStream._transform
      const silence = this.#silence
      incomingMessageStream._transform = (chunk, encoding, callback) => {
        silence?.heard()
        if (guard.accepts(chunk)) transform.call(incomingMessageStream, chunk, encoding, callback)
        else socket.destroy(new NotSqlServer('bytes that are no TDS packet'))
      }
    }

    /** Lets the next message that tedious sends pass through `edit`. */
    #editing(edit: (data: Buffer) => Buffer, send: () => void): void {
      const { messageIo } = this
      const original = messageIo.sendMessage
      messageIo.sendMessage = (type, data = Buffer.alloc(0), reset) => original.call(messageIo, type, edit(data), reset)
      try {
        send()
      } finally {
        messageIo.sendMessage = original
      }
    }

    override async performTlsNegotiation(prelogin: PreloginAnswer, signal: AbortSignal): Promise<void> {
      const { encrypt, secret } = this.#plan
      const answer = prelogin.encryptionString
      const offered = answer === 'ON' || answer === 'REQ'
      if (encrypt === 'strict') this.#protection = { kind: 'tls', tls: undefined }
      else if (encrypt === 'true') {
        if (!offered) throw notOffered()
        await this.#startTls(this.#plan.trust, signal)
        this.#protection = { kind: 'tls', tls: this.messageIo.securePair?.cleartext }
      } else if (offered || answer === 'OFF') {
        // As Microsoft's drivers do: who encrypts the session proves itself, who covers the login alone does not.
        await this.#startTls(this.#plan.trust || !offered, signal)
        this.#protection = {
          kind: offered ? 'tls' : 'login-only',
          tls: offered ? this.messageIo.securePair?.cleartext : undefined,
        }
      } else if (secret !== undefined) throw passwordExposed()
      if (prelogin.fedAuthRequired === 1) {
        const self = this as unknown as { fedAuthRequired: boolean }
        self.fedAuthRequired = true
      }
    }

    async #startTls(trust: boolean, signal: AbortSignal): Promise<void> {
      this.#plan.enter('tls')
      const { certificateHost, only } = this.#plan
      const host = certificateHost(this.routingData?.server ?? this.config.server)
      const pinned = trust ? undefined : only
      await orAbort(this.messageIo.startTls(this.secureContextOptions, host, trust || pinned !== undefined), signal)
      const tls = this.messageIo.securePair?.cleartext
      if (pinned !== undefined && tls !== undefined) assertOnly(tls, pinned, host)
    }

    override sendLogin7Packet(): void {
      // A Kerberos login waits for its token first; see below.
      if (this.#plan.sspi !== undefined) return
      this.#plan.enter('login')
      super.sendLogin7Packet()
      this.#readInPlain()
    }

    override async performSentLogin7WithStandardLogin(signal: AbortSignal): Promise<unknown> {
      const { sspi, enter } = this.#plan
      if (sspi === undefined) return this.#finishLogin(undefined, signal)
      enter('gss')
      const { server, port } = this.routingData ?? { server: this.config.server, port: this.config.options.port }
      const coming = sspi(server, port, this.closeController.signal)
      const provider = await orAbort(coming, signal).catch((error: unknown) => {
        // What still comes is not wanted any more.
        coming.then(
          (late) => late.close?.(),
          () => undefined,
        )
        throw error
      })
      try {
        const first = kerberosAlone(await orAbort(provider.step(), signal))
        enter('login')
        this.#editing(
          (data) => withSspi(data, first.output ?? Buffer.alloc(0)),
          () => super.sendLogin7Packet(),
        )
        this.#readInPlain()
        return await this.#finishLogin({ provider, complete: first.complete }, signal)
      } finally {
        provider.close?.()
      }
    }

    /** Reads answers until the server has let us in, sent us on, or refused. */
    async #finishLogin(
      gss: { readonly provider: SspiProvider; complete: boolean } | undefined,
      signal: AbortSignal,
    ): Promise<unknown> {
      // What has arrived is acted on although the server may have hung up behind it, as one that sends us on does.
      const untilClosed = this.closeController.signal
      for (;;) {
        const { sspi, rest } = splitLoginReply(await orAbort(this.#wholeMessage(), signal))
        for (const token of sspi) {
          if (gss === undefined) throw new NotSqlServer('a GSS token where none was due')
          this.#plan.enter('gss')
          const { output, complete } = kerberosAlone(await orAbort(gss.provider.step(token), untilClosed))
          gss.complete = complete
          if (output !== undefined && output.length > 0) {
            this.#writeInPlain()
            this.messageIo.sendMessage(SSPI_PACKET, output)
          }
          this.#plan.enter('login')
        }
        const handler = new StockHandler(this)
        await this.#parse(rest, handler, untilClosed)
        if (handler.loginAckReceived && handler.loginError === undefined) {
          if (gss !== undefined && !gss.complete) throw unproven()
          this.#kerberos = gss?.provider.peers?.()
          return handler.routingData
        }
        if (handler.loginError !== undefined) throw handler.loginError
        // A reply token may come in a message of its own, and the rest in the next.
        if (sspi.length === 0) throw new NotSqlServer('an answer that neither lets us in nor refuses')
      }
    }

    async #wholeMessage(): Promise<Buffer> {
      const parts: Buffer[] = []
      for await (const part of await this.messageIo.readMessage()) parts.push(part)
      return Buffer.concat(parts)
    }

    #parse(tokens: Buffer, handler: LoginHandler, signal: AbortSignal): Promise<void> {
      if (tokens.length === 0) return Promise.resolve()
      const parser = this.createTokenStreamParser([tokens], handler)
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      parser.once('end', resolve)
      parser.once('error', reject)
      return orAbort(promise, signal)
    }

    /** After a login under ENCRYPT_OFF the server answers without TLS. */
    #readInPlain(): void {
      const { securePair, socket, incomingMessageStream } = this.messageIo
      if (this.#protection.kind !== 'login-only' || securePair === undefined) return
      socket.unpipe(securePair.encrypted)
      securePair.cleartext.unpipe(incomingMessageStream)
      socket.pipe(incomingMessageStream)
    }

    /** And so do we, from the message after the login on: by now every byte of the login is on its way. */
    #writeInPlain(): void {
      const { securePair, socket, outgoingMessageStream } = this.messageIo
      if (this.#protection.kind !== 'login-only' || securePair === undefined) return
      outgoingMessageStream.unpipe(securePair.cleartext)
      securePair.encrypted.unpipe(socket)
      outgoingMessageStream.pipe(socket)
      this.messageIo.securePair = undefined
    }

    override sendInitialSql(): void {
      this.#writeInPlain()
      const onInfo = ({ message }: { message: string }): void => {
        const [, spid, user] = /^poolsmith:(\d+):(.*)$/s.exec(message) ?? []
        if (spid === undefined) return
        this.#greeting = { ...this.#greeting, processId: Number(spid), user: user === '' ? undefined : user }
        this.off('infoMessage', onInfo)
      }
      this.on('infoMessage', onInfo)
      super.sendInitialSql()
    }

    override getInitialSql(): string {
      return `${super.getInitialSql()}\n${INTRODUCTION}`
    }

    /** Every login's answer comes through here, that to tedious' own login by NTLM too. */
    #hearVersion(handler: LoginHandler): void {
      const { onLoginAck } = handler
      handler.onLoginAck = (token) => {
        const { major, minor, buildNumHi, buildNumLow } = token.progVersion
        this.#greeting = { ...this.#greeting, version: `${major}.${minor}.${buildNumHi * 256 + buildNumLow}` }
        onLoginAck.call(handler, token)
      }
    }

    override createTokenStreamParser(message: unknown, handler: unknown): NodeJS.EventEmitter {
      if (handler instanceof StockHandler) this.#hearVersion(handler)
      const mode = rowModeFor(handler, this.#plan.rowMode)
      if (mode === undefined) return super.createTokenStreamParser(message, handler)
      return rowParser(message, this.debug, handler, this.config.options, mode)
    }

    override cleanupConnection(): void {
      this.#silence?.stop()
      super.cleanupConnection()
      // For whoever would roll it back: that fails, and hides the error that ended the session.
      this.inTransaction = false
    }

    override beginTransaction(...given: Parameters<Connection['beginTransaction']>): void {
      const [, , isolationLevel = READ_COMMITTED] = given
      this.isolationLeft = isolationLevel !== READ_COMMITTED
      super.beginTransaction(...given)
    }

    override makeRequest(request: object, type: number, payload: object): void {
      this.#requests++
      if (this.#silence !== undefined && request instanceof EventEmitter) {
        // Once for a request that is made again.
        request.off('resume', this.#silence.heard).on('resume', this.#silence.heard)
      }
      super.makeRequest(request, type, payload)
    }
  }

  return PoolsmithConnection as unknown as ConnectionClass
}
