/**
 * GSSAPI's interface on Windows, over SSPI (secur32.dll), with the credentials of the logged-on user or service.
 *
 * NOT TESTED: written from Microsoft's reference ("SSPI Functions", "Using SSPI with a Windows Sockets Client"); the
 * machines that build poolsmith run Linux. SSPI's Kerberos tokens and messages are those of RFC 4121, as GSSAPI's.
 */

import { win32 } from 'node:path'
import { type CallInfo, pooledCalls } from '../call-queue.ts'
import { kerberosError } from '../errors.ts'
import type { KerberosFacts } from '../facts.ts'
import type {
  AcquireCredentialOptions,
  GssApi,
  GssCallOptions,
  GssContext,
  GssContextInfo,
  GssCredentialHandle,
  GssCredentialInfo,
  GssFlag,
  GssStep,
  InitContextOptions,
} from '../gss-api.ts'
import { gaveUp } from '../waiting.ts'
import { callAsync, type Koffi, loadKoffi, loadLibrary, type Native, type Pointer } from './load.ts'
import {
  FLAG_BITS,
  flagsFrom,
  isRefused,
  SEC,
  type SecBuffers,
  secBuffers,
  secChannelBindings,
  sspiCode,
} from './sspi-buffers.ts'
import { SspiHandle } from './sspi-handle.ts'

type Status = number

interface SspiFunctions {
  readonly koffi: Koffi
  readonly acquire: Native<[string | null, string, number, null, null, null, null, Uint8Array, Uint8Array], Status>
  readonly initialize: Native<
    [
      Uint8Array,
      Uint8Array | null,
      string,
      number,
      number,
      number,
      Uint8Array | null,
      number,
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ],
    Status
  >
  readonly encrypt: Native<[Uint8Array, number, Uint8Array, number], Status>
  readonly decrypt: Native<[Uint8Array, Uint8Array, number, Uint8Array], Status>
  readonly query: Native<[Uint8Array, number, Uint8Array], Status>
  readonly queryCredential: Native<[Uint8Array, number, Uint8Array], Status>
  readonly freeBuffer: Native<[Pointer], Status>
  readonly deleteContext: Native<[Uint8Array], Status>
  readonly freeCredential: Native<[Uint8Array], Status>
}

const PACKAGES = { krb5: 'Kerberos', spnego: 'Negotiate' } as const

/**
 * The full path of a library of Windows. By its bare name the loader would take one from the folder of the program, or
 * from the current one under some settings, where another user may have put it.
 */
export function systemLibrary(
  name: string,
  { SystemRoot }: Readonly<Record<string, string | undefined>> = process.env,
): string {
  const root = SystemRoot !== undefined && /^[a-z]:\\/i.test(SystemRoot) ? SystemRoot : 'C:\\Windows'
  return win32.join(root, 'System32', name)
}

export async function createSspi(): Promise<GssApi> {
  const koffi = await loadKoffi()
  const library = loadLibrary(koffi, [systemLibrary('secur32.dll')])
  const of = <Args extends readonly unknown[]>(name: string, types: string[]): Native<Args, Status> =>
    library.func(name, 'int32_t', types) as unknown as Native<Args, Status>
  const pointer = 'void *'
  const functions: SspiFunctions = {
    koffi,
    acquire: of('AcquireCredentialsHandleW', [
      'str16',
      'str16',
      'uint32_t',
      pointer,
      pointer,
      pointer,
      pointer,
      pointer,
      pointer,
    ]),
    initialize: of('InitializeSecurityContextW', [
      pointer,
      pointer,
      'str16',
      'uint32_t',
      'uint32_t',
      'uint32_t',
      pointer,
      'uint32_t',
      pointer,
      pointer,
      pointer,
      pointer,
    ]),
    encrypt: of('EncryptMessage', [pointer, 'uint32_t', pointer, 'uint32_t']),
    decrypt: of('DecryptMessage', [pointer, pointer, 'uint32_t', pointer]),
    query: of('QueryContextAttributesW', [pointer, 'uint32_t', pointer]),
    queryCredential: of('QueryCredentialsAttributesW', [pointer, 'uint32_t', pointer]),
    freeBuffer: of('FreeContextBuffer', [pointer]),
    deleteContext: of('DeleteSecurityContext', [pointer]),
    freeCredential: of('FreeCredentialsHandle', [pointer]),
  }
  return {
    provider: 'sspi',
    acquireCredential: (options = {}) => acquire(functions, options),
    initContext: (options) => new SspiContext(functions, options),
  }
}

function check(status: Status, facts: KerberosFacts, phase: 'credential' | 'gss'): void {
  if (isRefused(status)) {
    const text = `SSPI status 0x${(status >>> 0).toString(16)}`
    throw kerberosError(sspiCode(status), facts, { phase, more: text })
  }
}

function queued<T>(info: CallInfo, facts: KerberosFacts, options: GssCallOptions, start: () => Promise<T>): Promise<T> {
  return pooledCalls.run(info, start, {
    signal: options.signal,
    aborted: (signal, state) => gaveUp(signal, state, info, facts),
  })
}

async function acquire(functions: SspiFunctions, options: AcquireCredentialOptions): Promise<SspiCredential> {
  const { principal, mechanism = 'krb5' } = options
  const credential = new SspiCredential(functions, principal)
  const facts = { principal }
  const status = await queued({ purpose: 'the credential', realm: '' }, facts, options, () =>
    callAsync(
      functions.acquire,
      null,
      PACKAGES[mechanism],
      SEC.outbound,
      null,
      null,
      null,
      null,
      credential.handle.bytes,
      credential.expiry,
    ),
  )
  check(status, facts, 'credential')
  credential.handle.isMade = true
  return credential
}

class SspiCredential implements GssCredentialHandle {
  readonly cache = undefined
  /** As it was asked for; else as {@link inquire} has found it. */
  principal: string | undefined
  readonly handle: SspiHandle
  readonly expiry = Buffer.alloc(8)
  readonly #functions: SspiFunctions

  constructor(functions: SspiFunctions, principal: string | undefined) {
    this.#functions = functions
    this.principal = principal
    this.handle = new SspiHandle((bytes) => functions.freeCredential(bytes))
  }

  async inquire(): Promise<GssCredentialInfo> {
    const { koffi, queryCredential, freeBuffer } = this.#functions
    const name = Buffer.alloc(8)
    const status = queryCredential(this.handle.live, SEC.credentialName, name)
    // A provider that cannot tell the name (Wine's is one) may log in all the same.
    if (status >>> 0 !== SEC.unsupportedFunction) {
      check(status, { principal: this.principal }, 'credential')
      const pointer = name.readBigUInt64LE()
      this.principal ??= koffi.decode.string16(pointer)
      freeBuffer(pointer)
    }
    // A FILETIME in local time: 100 ns since 1601. Logon sessions mostly say "never", far in the future.
    const expiresAt = Number(this.expiry.readBigUInt64LE() / 10_000n) - 11_644_473_600_000
    const left = Math.max(0, Math.floor((expiresAt - Date.now()) / 1000))
    return { principal: this.principal ?? '', lifetimeSeconds: Math.min(left, 0xffffffff) }
  }

  [Symbol.dispose](): void {
    this.handle[Symbol.dispose]()
  }
}

class SspiContext implements GssContext {
  readonly target: string
  complete = false
  flags: readonly GssFlag[] = []
  readonly #functions: SspiFunctions
  readonly #credential: SspiCredential
  readonly #request: number
  readonly #handle: SspiHandle
  readonly #facts: KerberosFacts
  readonly #bindings: Buffer | undefined
  #sendSequence = 0
  #receiveSequence = 0

  constructor(functions: SspiFunctions, options: InitContextOptions) {
    const { target, credential, flags, channelBindings } = options
    if (!(credential instanceof SspiCredential)) throw new TypeError('SSPI needs a credential of its own')
    this.#functions = functions
    this.#credential = credential
    this.#bindings = channelBindings === undefined ? undefined : secChannelBindings(channelBindings)
    // SSPI takes an SPN with a slash where GSSAPI's host-based names have an @.
    this.target = 'principal' in target ? target.principal : `${target.service}/${target.host}`
    this.#facts = { principal: credential.principal, spn: this.target }
    this.#request = flags.reduce<number>((bits, flag) => bits | FLAG_BITS[flag], SEC.allocateMemory)
    this.#handle = new SspiHandle((bytes) => functions.deleteContext(bytes))
  }

  step(token?: Uint8Array, options: GssCallOptions = {}): Promise<GssStep> {
    const info = { purpose: `a ticket for ${this.target}`, realm: '' }
    return queued(info, this.#facts, options, () =>
      this.#handle.hold(() => this.#credential.handle.hold(() => this.#step(token))),
    )
  }

  async #step(token: Uint8Array | undefined): Promise<GssStep> {
    const { koffi, initialize, freeBuffer } = this.#functions
    const given = [
      ...(token === undefined ? [] : [{ type: SEC.token, bytes: token }]),
      ...(this.#bindings === undefined ? [] : [{ type: SEC.channelBindings, bytes: this.#bindings }]),
    ]
    const input = given.length === 0 ? undefined : secBuffers(koffi, given)
    const output = secBuffers(koffi, [{ type: SEC.token, bytes: undefined }])
    const attributes = Buffer.alloc(4)
    const status = await callAsync(
      initialize,
      this.#credential.handle.live,
      this.#handle.isMade ? this.#handle.bytes : null,
      this.target,
      this.#request,
      0,
      SEC.nativeDataRepresentation,
      input?.description ?? null,
      0,
      this.#handle.bytes,
      output.description,
      attributes,
      Buffer.alloc(8),
    )
    check(status, this.#facts, 'gss')
    this.#handle.isMade = true
    const { pointer, length } = output.at(0)
    const reply = pointer === 0n ? Buffer.alloc(0) : Buffer.from(koffi.decode(pointer, 'uint8_t', length))
    if (pointer !== 0n) freeBuffer(pointer)
    this.complete = status === SEC.ok
    this.flags = flagsFrom(attributes.readUInt32LE())
    return { token: reply.length === 0 ? undefined : reply, complete: this.complete }
  }

  wrap(plaintext: Uint8Array): Buffer {
    const sizes = this.#sizes()
    const parts = [Buffer.alloc(sizes.trailer), Buffer.from(plaintext), Buffer.alloc(sizes.blockSize)] as const
    const buffers = secBuffers(this.#functions.koffi, [
      { type: SEC.token, bytes: parts[0] },
      { type: SEC.data, bytes: parts[1] },
      { type: SEC.padding, bytes: parts[2] },
    ])
    const status = this.#functions.encrypt(this.#handle.live, 0, buffers.description, this.#sendSequence++)
    check(status, this.#facts, 'gss')
    return Buffer.concat(parts.map((part, index) => part.subarray(0, buffers.at(index).length)))
  }

  unwrap(message: Uint8Array): Buffer {
    // SSPI decrypts in place.
    const stream = Buffer.from(message)
    const buffers: SecBuffers = secBuffers(this.#functions.koffi, [
      { type: SEC.stream, bytes: stream },
      { type: SEC.data, bytes: undefined },
    ])
    const protection = Buffer.alloc(4)
    const status = this.#functions.decrypt(this.#handle.live, buffers.description, this.#receiveSequence++, protection)
    if (status !== SEC.ok || protection.readUInt32LE() === SEC.notEncrypted) {
      throw kerberosError('GSS_MESSAGE_DAMAGED', this.#facts, { phase: 'gss' })
    }
    const { pointer, length } = buffers.at(1)
    return length === 0 ? Buffer.alloc(0) : Buffer.from(this.#functions.koffi.decode(pointer, 'uint8_t', length))
  }

  wrapSizeLimit(messageBytes: number): number {
    const { trailer, blockSize } = this.#sizes()
    return Math.max(0, messageBytes - trailer - blockSize)
  }

  inquire(): GssContextInfo {
    return {
      initiator: this.#credential.principal ?? '',
      target: this.target,
      lifetimeSeconds: 0xffffffff,
      flags: this.flags,
    }
  }

  [Symbol.dispose](): void {
    this.#handle[Symbol.dispose]()
  }

  #sizes(): { readonly trailer: number; readonly blockSize: number } {
    // SecPkgContext_Sizes: cbMaxToken, cbMaxSignature, cbBlockSize, cbSecurityTrailer
    const sizes = Buffer.alloc(16)
    check(this.#functions.query(this.#handle.live, SEC.sizes, sizes), this.#facts, 'gss')
    return { blockSize: sizes.readUInt32LE(8), trailer: sizes.readUInt32LE(12) }
  }
}
