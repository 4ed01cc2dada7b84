import { isSecretText } from '../secret-text.ts'
import { LONGEST_KEY } from './limits.ts'

const LONGEST_SHOWN = 60

/** `extra.name`, or `extra["odd name"]` with what could break a line or hide in one written out; a key that may be a secret is left out. */
export function childPath(parent: string, key: string): string {
  if (key.length > LONGEST_KEY || isSecretText(key)) return `${parent}["…"]`
  if (key.length <= LONGEST_SHOWN && /^[\w-]+(\.[\w-]+)*$/.test(key)) return parent === '' ? key : `${parent}.${key}`
  const shown = JSON.stringify(key.length > LONGEST_SHOWN ? `${key.slice(0, LONGEST_SHOWN - 3)}...` : key)
  // JSON leaves these as they are: C1 controls, line separators, marks that turn the direction of text.
  const escaped = shown.replaceAll(
    /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return `${parent}[${escaped}]`
}
