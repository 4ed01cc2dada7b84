/** The little of XML that WS-Trust needs: well-formed texts without a DTD, and elements by namespace. */

import type { XmlDocument, XmlElement, XmlNode } from '@rgrove/parse-xml'
import { loadPackage } from '../../../optional-package.ts'

export type { XmlElement } from '@rgrove/parse-xml'

/** Reads a text; throws an Error that says what is wrong with it and repeats nothing of it. */
export type XmlReader = (text: string) => XmlElement

export async function loadXmlReader(neededFor: string): Promise<XmlReader> {
  const { parseXml } = await loadPackage('@rgrove/parse-xml', () => import('@rgrove/parse-xml'), neededFor)
  return (text) => {
    // SOAP forbids them (SOAP 1.2 Part 1, 5), and nothing that could be declared in one is wanted here.
    if (text.includes('<!DOCTYPE')) throw new Error('it has a DTD')
    let document: XmlDocument
    try {
      document = parseXml(text, { includeOffsets: true })
    } catch {
      // The parser's message shows the line that it stumbled over.
      throw new Error('it is not well-formed XML')
    }
    if (document.root === null) throw new Error('it is empty')
    setScopes(document.root)
    return document.root
  }
}

/** The metadata of AD FS have about 3,000 elements. More than these would hold up the event loop. */
const MAX_ELEMENTS = 30_000
const MAX_DEPTH = 2048
/** How many elements that declare namespaces may be nested in one another. */
const MAX_SCOPES = 64

/** The namespaces of the prefixes at an element: its nearest declarations, and those around them. */
interface Scope {
  readonly declared: Readonly<Record<string, string>>
  readonly around: Scope | undefined
  readonly depth: number
}

const scopes = new WeakMap<XmlElement, Scope>()

function setScopes(root: XmlElement): void {
  let level = [root]
  let elements = 0
  for (let depth = 1; level.length > 0; depth++) {
    elements += level.length
    if (elements > MAX_ELEMENTS) throw new Error(`it has more than ${MAX_ELEMENTS} elements`)
    if (depth > MAX_DEPTH) throw new Error(`it is nested more than ${MAX_DEPTH} elements deep`)
    for (const element of level) {
      const { parent, attributes } = element
      const around = parent !== null && isElement(parent) ? scopes.get(parent) : undefined
      if (!Object.keys(attributes).some((name) => /^xmlns(?::|$)/.test(name))) {
        if (around !== undefined) scopes.set(element, around)
        continue
      }
      const nested = (around?.depth ?? 0) + 1
      if (nested > MAX_SCOPES) throw new Error(`it nests more than ${MAX_SCOPES} declarations of namespaces`)
      scopes.set(element, { declared: attributes, around, depth: nested })
    }
    level = level.flatMap(elementsIn)
  }
}

function isElement(node: XmlNode): node is XmlElement {
  return node.type === 'element'
}

/** The namespace of a prefix at an element; the empty one is the default namespace. */
function namespaceOf(element: XmlElement, prefix: string): string | undefined {
  const declaration = prefix === '' ? 'xmlns' : `xmlns:${prefix}`
  for (let scope = scopes.get(element); scope !== undefined; scope = scope.around) {
    if (Object.hasOwn(scope.declared, declaration)) return scope.declared[declaration]
  }
  return undefined
}

function split(name: string): [prefix: string, local: string] {
  const colon = name.indexOf(':')
  return colon < 0 ? ['', name] : [name.slice(0, colon), name.slice(colon + 1)]
}

export function isNamed(element: XmlElement, namespace: string, name: string): boolean {
  const [prefix, local] = split(element.name)
  return local === name && namespaceOf(element, prefix) === namespace
}

export function elementsIn(element: XmlElement): XmlElement[] {
  return element.children.filter(isElement)
}

/** The elements that a path of children leads to, each step of it a namespace and a name. */
export function find(element: XmlElement, ...path: readonly (readonly [string, string])[]): XmlElement[] {
  return path.reduce(
    (found, [namespace, name]) =>
      found.flatMap((each) => elementsIn(each).filter((at) => isNamed(at, namespace, name))),
    [element],
  )
}

/** All elements of a name, at any depth, the element itself included. */
export function descendants(element: XmlElement, namespace: string, name: string): XmlElement[] {
  const found: XmlElement[] = []
  const waiting = [element]
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    if (isNamed(at, namespace, name)) found.push(at)
    for (const child of elementsIn(at).reverse()) waiting.push(child)
  }
  return found
}

/** An attribute with a namespace of its own; one without is `element.attributes[name]`. */
export function attributeOf(element: XmlElement, namespace: string, name: string): string | undefined {
  for (const [key, value] of Object.entries(element.attributes)) {
    const [prefix, local] = split(key)
    if (prefix !== '' && local === name && namespaceOf(element, prefix) === namespace) return value
  }
  return undefined
}

/** A text as the content of an element. */
export function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
