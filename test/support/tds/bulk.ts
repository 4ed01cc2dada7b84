/** Part of the TDS server test double: the rows of an INSERT BULK (MS-TDS 2.2.6.1), read. */

import { type Parameter, Reader, readValue } from './parameters.ts'

export interface BulkLoad {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly Parameter[])[]
}

const COLUMNS = 0x81
const ROW = 0xd1

/** The number of bytes that describe a type, before its values. */
const TYPE_LENGTHS: Readonly<Record<number, number>> = {
  36: 2, // uniqueidentifier
  38: 2, // whole numbers
  40: 1, // date
  41: 2, // time
  42: 2, // datetime2
  43: 2, // datetimeoffset
  104: 2, // bit
  106: 4, // decimal
  108: 4, // numeric
  109: 2, // floats
  110: 2, // money
  111: 2, // datetime
  165: 3, // varbinary
  167: 8, // varchar
  231: 8, // nvarchar
}

export function readBulkLoad(data: Buffer): BulkLoad {
  const reader = new Reader(data)
  if (reader.u8() !== COLUMNS) throw new Error('BULK: no columns')
  const columns = Array.from({ length: reader.u16() }, () => {
    reader.bytes(6) // user type and flags
    const length = TYPE_LENGTHS[data[reader.at] ?? 0]
    if (length === undefined) throw new Error(`BULK: a column of type ${data[reader.at]}`)
    return { type: reader.bytes(length), name: reader.text(reader.u8()) }
  })
  const rows: Parameter[][] = []
  while (data[reader.at] === ROW) {
    reader.u8()
    rows.push(columns.map(({ type }, index) => ({ name: `p${index}`, ...readValue(reader.behind(type)) })))
  }
  return { columns: columns.map(({ name }) => name), rows }
}
