/** Records values of a histogram together. */

import type { Attributes, Histogram } from './api.ts'

/** Values that are recorded together. */
const GROUP = 1024

/** The object in which OpenTelemetry's SDK adds up the values of a histogram that have the same attributes. */
interface Cell {
  record(value: number): void
  toPointValue?(): unknown
}

/** The values that such an object has added up. */
interface Sums {
  count: number
  sum: number
  readonly hasMinMax: boolean
  min: number
  max: number
  readonly buckets: { readonly boundaries: readonly number[]; readonly counts: number[] }
}

/** The part of the SDK's storage that {@link cellsOf} reads. */
interface Storage {
  /** One for each reader, if there is not exactly one. */
  readonly _backingStorages?: readonly Storage[]
  /** Of a view. */
  readonly _attributesProcessor?: { process(attributes: Attributes): Attributes }
  readonly _deltaMetricStorage?: {
    readonly _activeCollectionStorage?: { get(attributes: Attributes): Cell | undefined }
  }
}

/**
 * Records times in groups. The SDK turns the attributes into a text for each value that is recorded, which takes nearly
 * as long as an acquire; here it does so once for a group. An exporter sees the same as if each value were recorded.
 * The context of the caller is not kept, so a view that takes attributes from it does not see it.
 */
export class GroupedHistogram {
  readonly #histogram: Histogram
  readonly #attributes: Attributes
  readonly #millis = new Float64Array(GROUP)
  #count = 0

  constructor(histogram: Histogram, attributes: Attributes) {
    this.#histogram = histogram
    this.#attributes = attributes
  }

  /** Takes a time in milliseconds; the histogram gets it in seconds. */
  record(millis: number): void {
    this.#millis[this.#count++] = millis
    if (this.#count === GROUP) this.flush()
  }

  /** Records what has gathered. To be called before each collection. */
  flush(): void {
    const count = this.#count
    if (count === 0) return
    this.#count = 0
    const histogram = this.#histogram
    const attributes = this.#attributes
    const millis = this.#millis
    // Also creates the cells of these attributes.
    histogram.record((millis[0] as number) / 1000, attributes)
    const one = { record: (seconds: number) => histogram.record(seconds, attributes) }
    for (const cell of cellsOf(histogram, attributes) ?? [one]) addTo(cell, millis, count)
  }
}

/** Adds the values after the first one to a cell: value by value where its sums cannot be reached. */
function addTo(cell: Cell, millis: Float64Array, count: number): void {
  if (count < 2) return
  const sums = sumsOf(cell)
  const before = sums?.count
  cell.record((millis[1] as number) / 1000)
  // The sums themselves and no copy of them: they have counted this value.
  if (sums !== undefined && sums.count - 1 === before) {
    addDirectly(sums, millis, count)
  } else {
    for (let index = 2; index < count; index++) cell.record((millis[index] as number) / 1000)
  }
}

/** Without the search and the calls of the cell, which take more time than all else that is done for a value. */
function addDirectly(sums: Sums, millis: Float64Array, count: number): void {
  const { boundaries, counts } = sums.buckets
  const last = boundaries.length
  let { sum, min, max } = sums
  for (let index = 2; index < count; index++) {
    const seconds = (millis[index] as number) / 1000
    sum += seconds
    if (seconds < min) min = seconds
    if (seconds > max) max = seconds
    let bucket = 0
    while (bucket < last && (boundaries[bucket] as number) < seconds) bucket++
    counts[bucket] = (counts[bucket] as number) + 1
  }
  sums.count += count - 2
  sums.sum = sum
  if (!sums.hasMinMax) return
  sums.min = min
  sums.max = max
}

/** The sums of a cell, where they are kept as the SDK keeps those of its usual histograms. */
function sumsOf(cell: Cell): Sums | undefined {
  const sums = cell.toPointValue?.() as Sums | undefined
  const { boundaries, counts } = sums?.buckets ?? {}
  return Array.isArray(boundaries) && Array.isArray(counts) && counts.length === boundaries.length + 1
    ? sums
    : undefined
}

/** The cells to which a value with these attributes is added; undefined for an SDK that is built in another way. */
function cellsOf(histogram: Histogram, attributes: Attributes): readonly Cell[] | undefined {
  const { _writableMetricStorage: storage } = histogram as { readonly _writableMetricStorage?: Storage }
  if (storage === undefined) return undefined
  const cells: Cell[] = []
  for (const one of storage._backingStorages ?? [storage]) {
    const cell = one._deltaMetricStorage?._activeCollectionStorage?.get(attributes)
    if (cell === undefined || (one._attributesProcessor?.process(attributes) ?? attributes) !== attributes)
      return undefined
    cells.push(cell)
  }
  return cells
}
