/**
 * Part of the TDS server test double: collations of varchar with their bytes (MS-TDS 2.2.5.1.2) and code pages. Each is
 * a separate type in the PostgreSQL behind the double.
 */

export interface Collated {
  readonly name: string
  readonly type: string
  readonly codePage: number
  /** LCID of 20 bits, eight flags (bit 26: UTF-8), four bits of version, the sort id. */
  readonly collation: Buffer
  encode(text: string): Buffer
}

/** Node decodes code pages but does not encode them, so every byte is decoded once. */
function encoder(label: string): (text: string) => Buffer {
  const decoder = new TextDecoder(label)
  const bytes = new Map(Array.from({ length: 256 }, (_, byte) => [decoder.decode(Uint8Array.of(byte)), byte]))
  return (text) => Buffer.from(Array.from(text, (character) => bytes.get(character) ?? 0x3f))
}

const of = (name: string, type: string, codePage: number, bytes: readonly number[], label: string): Collated => ({
  name,
  type,
  codePage,
  collation: Buffer.from(bytes),
  encode: label === 'utf-8' ? (text) => Buffer.from(text) : encoder(label),
})

export const COLLATED: readonly Collated[] = [
  of('Cyrillic_General_CI_AS', 'varchar_1251', 1251, [0x19, 0x04, 0xd0, 0x00, 0x00], 'windows-1251'),
  of('Polish_CI_AS', 'varchar_1250', 1250, [0x15, 0x04, 0xd0, 0x00, 0x00], 'windows-1250'),
  of('SQL_Latin1_General_CP1_CI_AS', 'varchar_1252', 1252, [0x09, 0x04, 0xd0, 0x00, 0x34], 'windows-1252'),
  of('Latin1_General_100_CI_AS_SC_UTF8', 'varchar_utf8', 65_001, [0x09, 0x04, 0xd0, 0x24, 0x00], 'utf-8'),
  // The client asks for it as nvarchar, so these bytes must never be sent.
  of('Greek_CI_AS', 'varchar_1253', 1253, [0x08, 0x04, 0xd0, 0x00, 0x00], 'windows-1253'),
]
