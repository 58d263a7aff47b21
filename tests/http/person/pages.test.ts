import fc from 'fast-check'
import { expect, test } from 'vitest'
import { brandingSchema, contrast, parseColor, type Rgb, readableOn, textOn } from '../../../src/http/branding.ts'
import { styleSheet } from '../../../src/http/pages/style.ts'
import { foreign } from '../../../src/http/pages/text.ts'
import { authorizeUrl, personServer } from '../../support/person.ts'

const hostile = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' autofocus onfocus=alert(1) x='",
  '</title></style><form action="https://evil.example">',
  '&lt;b&gt; &#60;b&#62;',
  '\u202egnp.elgooG',
  'Claude\u2069\u202e (verified)',
  'a\u0000b\u0007c\u001b[31md\u2028e\nf',
  'Cla\u200bude\u2060\ufeff\u{e0041}\u{e0042}',
  `Z${'\u0300'.repeat(200)}`,
  'x'.repeat(5_000),
  'שלום עולם مرحبا',
  '👩‍👩‍👧‍👦'.repeat(100),
  '\u00a0\u3000\u2003',
  '\ud800',
]

const markup = (html: string) => html.replace(/<style>.*?<\/style>/s, '').match(/<[^>]*>/g) ?? []

test('hostile names can’t forge the page: the markup is the same as with a harmless one', async () => {
  const to = await personServer()
  await to.addClient({ id: 'app', name: 'Harmless' })
  const shape = (html: string) => markup(html).map((tag) => tag.replace(/value="[^"]*"/, 'value'))
  const harmless = shape((await to.browser().open(authorizeUrl(to))).html)
  for (const name of hostile) {
    await to.addClient({ id: 'app', name })
    const { html, text } = await to.browser().open(authorizeUrl(to))
    expect(shape(html), name).toEqual(harmless)
    expect(text).not.toMatch(/[\p{Cc}\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\u{e0000}-\u{e007f}]/u)
    expect(text.length).toBeLessThan(2_000)
    expect(text).toContain('Unverified')
  }
})

test('foreign text: for any string, one bounded line with nothing that is invisible or turns the direction', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), fc.integer({ min: 1, max: 80 }), (text, longest) => {
      const clean = foreign(text, longest)
      expect(clean).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]/u)
      expect([...new Intl.Segmenter('en').segment(clean)].length).toBeLessThanOrEqual(longest)
      expect(clean).toBe(clean.trim())
      expect(() => encodeURIComponent(clean)).not.toThrow()
      expect(foreign(clean, longest)).toBe(clean)
    }),
  )
  expect(foreign('Åsa  Öberg')).toBe('Åsa Öberg')
  expect(foreign('one \u{e0041} word, e\u{e0041}\u0301')).toBe('one word, é')
  expect(foreign('می‌خواهم')).toBe('می‌خواهم')
  expect(foreign('👩‍👧')).toBe('👩‍👧')
})

const color = fc.tuple(
  fc.integer({ min: 0, max: 255 }),
  fc.integer({ min: 0, max: 255 }),
  fc.integer({ min: 0, max: 255 }),
)

test('any colour of the host’s can be read: 4.5 to 1 on buttons, and for links in light and in dark', () => {
  fc.assert(
    fc.property(color, (accent: Rgb) => {
      expect(contrast(textOn(accent), accent)).toBeGreaterThanOrEqual(4.5)
      for (const surface of [
        [255, 255, 255],
        [246, 247, 249],
        [27, 29, 34],
        [35, 38, 44],
      ] as const) {
        expect(contrast(readableOn(surface, accent), surface)).toBeGreaterThanOrEqual(4.5)
      }
    }),
  )
  expect(contrast([0, 0, 0], [255, 255, 255])).toBeCloseTo(21)
})

test('the colours of text are readable on their surfaces, in light and in dark', () => {
  const [light = '', dark = ''] = styleSheet({}).split('@media')
  for (const scheme of [light, dark]) {
    const value = (name: string) =>
      parseColor(new RegExp(`--${name}:(#[0-9a-f]+)`).exec(scheme)?.[1] ?? '') ?? [0, 0, 0]
    for (const [text, surface] of [
      ['text', 'card'],
      ['text', 'page'],
      ['quiet', 'card'],
      ['quiet', 'soft'],
      ['quiet', 'page'],
      ['link', 'card'],
      ['link', 'soft'],
      ['warn-text', 'warn'],
      ['bad-text', 'bad'],
      ['good-text', 'good'],
      ['on-accent', 'accent'],
    ] as const) {
      expect(contrast(value(text), value(surface)), `${text} on ${surface}`).toBeGreaterThanOrEqual(4.5)
    }
    expect(contrast(value('field'), value('card'))).toBeGreaterThanOrEqual(3)
  }
})

test('the pages have the host’s name, logo and language; the policy lets this logo in and nothing else', async () => {
  for (const [logo, source] of [
    ['https://cdn.example.com/logo.png', 'https://cdn.example.com'],
    ['data:image/png;base64,AAAA', 'data:'],
  ] as const) {
    const to = await personServer({ branding: { name: 'Grünwald & Söhne', logo, lang: 'de' } })
    await to.addClient({ id: 'app' })
    const page = await to.browser().open(authorizeUrl(to))
    expect(page.text).toContain('Grünwald & Söhne')
    expect(page.html).toContain('lang="de"')
    expect(page.html).toContain(`<img src="${logo}" alt="">`)
    expect(page.headers.get('content-security-policy')).toContain(`; img-src ${source};`)
  }
})

test('branding that can’t be shown is refused', () => {
  for (const wrong of [
    { name: '' },
    { logo: 'http://example.com/logo.png' },
    { logo: 'javascript:alert(1)' },
    { logo: 'data:text/html,x' },
    { color: 'red' },
    { color: '#12345' },
    { color: '#fff;}body{display:none' },
    { lang: 'not a language' },
    { other: 1 },
  ]) {
    expect(brandingSchema.safeParse(wrong).success, JSON.stringify(wrong)).toBe(false)
  }
  for (const right of [{}, { name: 'X', color: '#0b7a53', lang: 'pt-BR', logo: 'https://example.com/l.svg' }]) {
    expect(brandingSchema.safeParse(right).success).toBe(true)
  }
})
