/** SSPI's constants, statuses and buffer descriptions (sspi.h, 64-bit). NOT TESTED, as sspi.ts. */

import type { ErrorCode } from '../../errors.ts'
import type { GssFlag } from '../gss-api.ts'
import type { Koffi, Pointer } from './load.ts'

export const SEC = {
  ok: 0,
  /** SECPKG_CRED_OUTBOUND */
  outbound: 2,
  /** ISC_REQ_ALLOCATE_MEMORY */
  allocateMemory: 0x100,
  /** SECURITY_NATIVE_DREP */
  nativeDataRepresentation: 0x10,
  /** SECPKG_CRED_ATTR_NAMES */
  credentialName: 1,
  /** SECPKG_ATTR_SIZES */
  sizes: 0,
  /** SEC_E_UNSUPPORTED_FUNCTION */
  unsupportedFunction: 0x80090302,
  /** SECQOP_WRAP_NO_ENCRYPT */
  notEncrypted: 0x80000001,
  /** SECBUFFER_… */
  data: 1,
  token: 2,
  padding: 9,
  stream: 10,
  channelBindings: 14,
} as const

/** ISC_REQ_… and ISC_RET_…, which agree for these. */
export const FLAG_BITS: Readonly<Record<GssFlag, number>> = {
  delegate: 0x1,
  mutual: 0x2,
  replay: 0x4,
  sequence: 0x8,
  confidentiality: 0x10,
  integrity: 0x10000,
}

export function flagsFrom(bits: number): GssFlag[] {
  return (Object.keys(FLAG_BITS) as GssFlag[]).filter((flag) => (bits & FLAG_BITS[flag]) !== 0)
}

/** SEC_E_… have the highest bit set; SEC_I_… (go on) have not. */
export function isRefused(status: number): boolean {
  return status >>> 0 >= 0x80000000
}

const CODES: readonly (readonly [status: number, code: ErrorCode])[] = [
  // SEC_E_TARGET_UNKNOWN, SEC_E_WRONG_PRINCIPAL
  [0x80090303, 'SPN_UNKNOWN'],
  [0x80090322, 'GSS_SERVER_REFUSED'],
  // SEC_E_NO_CREDENTIALS, SEC_E_LOGON_DENIED
  [0x8009030e, 'TICKET_MISSING'],
  [0x8009030c, 'PRINCIPAL_REFUSED'],
  // SEC_E_NO_AUTHENTICATING_AUTHORITY
  [0x80090311, 'KDC_UNREACHABLE'],
  // SEC_E_TIME_SKEW
  [0x80090324, 'CLOCK_SKEW'],
  // SEC_E_CONTEXT_EXPIRED
  [0x80090317, 'TICKET_EXPIRED'],
  // SEC_E_INVALID_TOKEN, SEC_E_MUTUAL_AUTH_FAILED
  [0x80090308, 'GSS_SERVER_REFUSED'],
  [0x80090363, 'GSS_SERVER_REFUSED'],
]

export function sspiCode(status: number): ErrorCode {
  return CODES.find(([known]) => known === status >>> 0)?.[1] ?? 'GSS_FAILED'
}

/** SEC_CHANNEL_BINDINGS with application data alone: eight numbers, and the data behind them. */
export function secChannelBindings(data: Uint8Array): Buffer {
  const head = Buffer.alloc(32)
  head.writeUInt32LE(data.length, 24)
  head.writeUInt32LE(head.length, 28)
  return Buffer.concat([head, data])
}

export interface SecBuffers {
  /** The SecBufferDesc. Keep the whole object reachable during a call: it points into the other parts. */
  readonly description: Buffer
  /** One of the buffers after a call. */
  at(index: number): { readonly length: number; readonly pointer: Pointer }
  readonly parts: readonly (Uint8Array | undefined)[]
}

export function secBuffers(
  koffi: Koffi,
  parts: readonly { readonly type: number; readonly bytes: Uint8Array | undefined }[],
): SecBuffers {
  const size = 16
  const buffers = Buffer.alloc(size * parts.length)
  parts.forEach(({ type, bytes }, index) => {
    buffers.writeUInt32LE(bytes?.length ?? 0, size * index)
    buffers.writeUInt32LE(type, size * index + 4)
    buffers.writeBigUInt64LE(bytes === undefined ? 0n : koffi.address(bytes), size * index + 8)
  })
  const description = Buffer.alloc(16)
  description.writeUInt32LE(0, 0)
  description.writeUInt32LE(parts.length, 4)
  description.writeBigUInt64LE(koffi.address(buffers), 8)
  return {
    description,
    at: (index) => ({
      length: buffers.readUInt32LE(size * index),
      pointer: buffers.readBigUInt64LE(size * index + 8),
    }),
    parts: parts.map(({ bytes }) => bytes),
  }
}
