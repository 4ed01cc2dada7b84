/** Checks of the content of JSON files that other users may have written: types, formats and lengths. */

import type { TableColumn } from './read/table.ts'

type Check<T> = (value: unknown) => value is T

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const SHA256 = /^[0-9a-f]{64}$/
/** No database has longer names of tables, columns and types. */
const LONGEST_NAME = 1000

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export const isText = (value: unknown): value is string => typeof value === 'string'

/** A name of a table, a column, a type or a source. */
export const isName = (value: unknown): value is string => isText(value) && value !== '' && value.length <= LONGEST_NAME

/** It becomes a part of file names. */
export const isUuid = (value: unknown): value is string => isText(value) && UUID.test(value)

export const isSha256 = (value: unknown): value is string => isText(value) && SHA256.test(value)

/** ISO 8601 in UTC, exactly as JavaScript writes it: it becomes a part of a path. */
export const isInstant = (value: unknown): value is string =>
  isText(value) && !Number.isNaN(Date.parse(value)) && new Date(value).toISOString() === value

/** A whole number from 0. */
export const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

export function isListOf<T>(value: unknown, check: Check<T>): value is readonly T[] {
  return Array.isArray(value) && value.every(check)
}

export function isOptional<T>(value: unknown, check: Check<T>): value is T | undefined {
  return value === undefined || check(value)
}

export const isColumn = (value: unknown): value is TableColumn =>
  isRecord(value) &&
  isName(value.name) &&
  isName(value.type) &&
  isOptional(value.arrow, isName) &&
  isOptional(value.note, isText)

/** Gives the path of the first part of a value that has a wrong form, `''` for the value itself; else undefined. */
export type Form = (value: unknown) => string | undefined

export const leaf =
  (isRight: (value: unknown) => boolean): Form =>
  (value) =>
    isRight(value) ? undefined : ''

export const optionally =
  (form: Form): Form =>
  (value) =>
    value === undefined ? undefined : form(value)

export const nullOr =
  (form: Form): Form =>
  (value) =>
    value === null ? undefined : form(value)

export const recordOf =
  (members: Readonly<Record<string, Form>>): Form =>
  (value) => {
    if (!isRecord(value)) return ''
    for (const [name, form] of Object.entries(members)) {
      const path = form(value[name])
      if (path !== undefined) return `.${name}${path}`
    }
    return undefined
  }

export const listOf =
  (form: Form, isLength: (length: number) => boolean = () => true): Form =>
  (value) => {
    if (!Array.isArray(value) || !isLength(value.length)) return ''
    for (const [index, item] of value.entries()) {
      const path = form(item)
      if (path !== undefined) return `[${index}]${path}`
    }
    return undefined
  }
