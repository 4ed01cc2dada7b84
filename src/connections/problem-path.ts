/** `extra.name`, or `extra["odd name"]` with whatever could break a line or hide in one written out. */
export function childPath(parent: string, key: string): string {
  if (/^[\w-]+(\.[\w-]+)*$/.test(key)) return parent === '' ? key : `${parent}.${key}`
  const shown = JSON.stringify(key.length > 60 ? `${key.slice(0, 57)}...` : key)
  // JSON leaves these as they are: C1 controls, line separators, marks that turn the direction of text.
  const escaped = shown.replaceAll(
    /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return `${parent}[${escaped}]`
}
