/** Part of the TDS server test double: the tokens of a response (MS-TDS 2.2.7), written. */

import type { Column, TdsType } from './types.ts'

export const DONE = { final: 0x00, more: 0x01, error: 0x02, inTransaction: 0x04, count: 0x10, attention: 0x20 } as const

function u16(value: number): Buffer {
  const buffer = Buffer.alloc(2)
  buffer.writeUInt16LE(value)
  return buffer
}

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32LE(value)
  return buffer
}

/** A text of up to 255 characters with its length in one byte. */
export function bVarchar(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text, 'utf16le')])
}

function usVarchar(text: string): Buffer {
  return Buffer.concat([u16(text.length), Buffer.from(text, 'utf16le')])
}

/** A token that begins with its length in two bytes. */
function sized(type: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([type]), u16(body.length), body])
}

export interface ServerMessage {
  readonly number: number
  readonly state: number
  readonly class: number
  readonly message: string
}

export function errorToken(error: ServerMessage, server: string, isInfo = false): Buffer {
  return sized(
    isInfo ? 0xab : 0xaa,
    u32(error.number),
    Buffer.from([error.state, error.class]),
    usVarchar(error.message),
    bVarchar(server),
    bVarchar(''),
    u32(1),
  )
}

/** An error for a client of TDS 7.1 or older: its LineNumber has two bytes. */
export function oldErrorToken(message: string, server: string): Buffer {
  const body = [u32(50_000), Buffer.from([1, 16]), usVarchar(message), bVarchar(server), bVarchar(''), u16(1)]
  // Its DONE counts rows in four bytes.
  return Buffer.concat([sized(0xaa, ...body), Buffer.from([0xfd, DONE.error, 0, 0, 0, 0, 0, 0, 0])])
}

const ENV_TEXT = { database: 1, language: 2, packetSize: 4 } as const

export function envText(kind: keyof typeof ENV_TEXT, next: string, previous: string): Buffer {
  return sized(0xe3, Buffer.from([ENV_TEXT[kind]]), bVarchar(next), bVarchar(previous))
}

const ENV_BYTES = { collation: 7, begin: 8, commit: 9, rollback: 10, reset: 18 } as const

export function envBytes(kind: keyof typeof ENV_BYTES, next: Buffer, previous: Buffer): Buffer {
  return sized(0xe3, Buffer.from([ENV_BYTES[kind], next.length]), next, Buffer.from([previous.length]), previous)
}

export function envRouting(server: string, port: number): Buffer {
  const route = Buffer.concat([Buffer.from([0]), u16(port), usVarchar(server)])
  return sized(0xe3, Buffer.from([20]), u16(route.length), route, u16(0))
}

export function loginAck(tdsVersion: number, program: string, version: readonly number[]): Buffer {
  const asked = Buffer.alloc(4)
  asked.writeUInt32BE(tdsVersion)
  const [major = 0, minor = 0, build = 0] = version
  return sized(0xad, Buffer.from([1]), asked, bVarchar(program), Buffer.from([major, minor, build >> 8, build & 0xff]))
}

export function featureExtAck(features: readonly (readonly [id: number, data: Buffer])[]): Buffer {
  return Buffer.concat([
    Buffer.from([0xae]),
    ...features.flatMap(([id, data]) => [Buffer.from([id]), u32(data.length), data]),
    Buffer.from([0xff]),
  ])
}

export function fedAuthInfo(stsUrl: string, spn: string): Buffer {
  const values = [Buffer.from(stsUrl, 'utf16le'), Buffer.from(spn, 'utf16le')]
  const head = Buffer.alloc(4 + values.length * 9)
  head.writeUInt32LE(values.length, 0)
  let offset = head.length
  values.forEach((value, index) => {
    head[4 + index * 9] = index + 1
    head.writeUInt32LE(value.length, 5 + index * 9)
    head.writeUInt32LE(offset, 9 + index * 9)
    offset += value.length
  })
  const body = Buffer.concat([head, ...values])
  return Buffer.concat([Buffer.from([0xee]), u32(body.length), body])
}

export function sspiToken(token: Buffer): Buffer {
  return sized(0xed, token)
}

function done(type: number, status: number, command: number, rows: bigint): Buffer {
  const buffer = Buffer.alloc(13)
  buffer[0] = type
  buffer.writeUInt16LE(status, 1)
  buffer.writeUInt16LE(command, 3)
  buffer.writeBigUInt64LE(rows, 5)
  return buffer
}

/** CurCmd (MS-TDS 2.2.7.6): JDBC and ODBC take no count of a SELECT for the rows that were changed. */
const COMMAND = { select: 0xc1, insert: 0xc3, delete: 0xc4, update: 0xc5, merge: 0x117 } as const

export type Command = keyof typeof COMMAND

/** @param within the statement ran inside a procedure such as sp_executesql */
export function doneToken(
  status: number,
  rows: number | undefined = undefined,
  within = false,
  command: keyof typeof COMMAND = 'select',
): Buffer {
  return done(within ? 0xff : 0xfd, status | (rows === undefined ? 0 : DONE.count), COMMAND[command], BigInt(rows ?? 0))
}

export function doneProc(status: number): Buffer {
  return done(0xfe, status, 0xe0, 0n)
}

export function returnStatus(value: number): Buffer {
  const buffer = Buffer.alloc(5)
  buffer[0] = 0x79
  buffer.writeInt32LE(value, 1)
  return buffer
}

/** RETURNVALUE (MS-TDS 2.2.7.19): an output parameter. */
export function returnValue(name: string, type: TdsType, value: string | null, ordinal = 0): Buffer {
  return Buffer.concat([
    Buffer.from([0xac]),
    u16(ordinal),
    bVarchar(name),
    Buffer.from([0x01]),
    u32(0),
    u16(0),
    type.info,
    value === null ? type.absent : type.encode(value),
  ])
}

/** COLMETADATA for a client that knows the columns (MS-TDS 2.2.7.4). */
export function noColMetadata(): Buffer {
  return Buffer.from([0x81, 0xff, 0xff])
}

export function colMetadata(columns: readonly Column[]): Buffer {
  return Buffer.concat([
    Buffer.from([0x81]),
    u16(columns.length),
    ...columns.flatMap((column) => [
      u32(0),
      u16(0x0009), // nullable; updatable: unknown
      column.type.info,
      bVarchar(column.name),
    ]),
  ])
}

/** ROW, or NBCROW where more than one value is null: clients must read both. */
export function rowToken(columns: readonly Column[], values: readonly (string | null)[]): Buffer {
  const compressed = values.filter((value) => value === null).length > 1
  const parts: Buffer[] = [Buffer.from([compressed ? 0xd2 : 0xd1])]
  if (compressed) {
    const bitmap = Buffer.alloc(Math.ceil(columns.length / 8))
    values.forEach((value, index) => {
      if (value === null) bitmap[index >> 3] = (bitmap[index >> 3] ?? 0) | (1 << (index & 7))
    })
    parts.push(bitmap)
  }
  columns.forEach((column, index) => {
    const value = values[index] ?? null
    if (value !== null) parts.push(column.type.encode(value))
    else if (!compressed) parts.push(column.type.absent)
  })
  return Buffer.concat(parts)
}
