/** In which form columns are read, where a caller asks for another than their types give. */

import type { ReadOptions } from './table.ts'

export interface ReadForms {
  readonly asText: ReadonlySet<string>
  readonly asBytes: ReadonlySet<string>
  readonly wideDecimals: boolean
}

export function readForms({ asText, asBytes, decimals }: ReadOptions): ReadForms {
  return { asText: new Set(asText), asBytes: new Set(asBytes), wideDecimals: decimals === 'wide' }
}
