/** Part of the TDS server test double: one packet (MS-TDS 2.2.3). */

export const PACKET = {
  sqlBatch: 1,
  rpc: 3,
  response: 4,
  attention: 6,
  bulkLoad: 7,
  fedAuthToken: 8,
  transactionManager: 14,
  login7: 16,
  sspi: 17,
  prelogin: 18,
} as const

export const STATUS = { endOfMessage: 0x01, ignore: 0x02, reset: 0x08, resetKeepTransaction: 0x10 } as const
export const HEADER_LENGTH = 8

export function packet(type: number, payload: Buffer, last: boolean, id: number, spid = 0): Buffer {
  const header = Buffer.alloc(HEADER_LENGTH)
  header[0] = type
  header[1] = last ? STATUS.endOfMessage : 0
  header.writeUInt16BE(HEADER_LENGTH + payload.length, 2)
  header.writeUInt16BE(spid, 4)
  header[6] = id & 0xff
  return Buffer.concat([header, payload])
}
