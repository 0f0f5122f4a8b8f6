/** One token through one linear, in the page: what lies under the microscope is chosen, and the outlier is a slider on the number line. */
import { type Explanation, place, worst } from '../explain/explain.ts';
import { beginning, look, moved, outlierOf, type Slide } from '../explain/microscope.ts';
import { nameOf } from '../explain/text.ts';
import { caption, numberLine, reachOf, STYLE, said, steps } from '../report/microscope.ts';
import { element } from './dom.ts';
import { inWords } from './problems.ts';

/** Steps of the slider, from end to end. */
const STEPS = 200;

const option = (value: string | number, text: string) => element('option', { value }, text);
const field = (label: string, control: HTMLElement) =>
  element('div', { class: 'field' }, element('label', { for: control.id }, label), control);

/**
 * The microscope, on the linear that costs most and the first token of the answer.
 * @param slideOf fetches a linear of the question, by its name in the checkpoint
 */
export async function microscope(
  { linears, answers: { fp32 } }: Explanation,
  slideOf: (name: string) => Promise<Slide>,
): Promise<HTMLElement> {
  const linear = element('select', { id: 'linear' });
  const token = element('select', { id: 'token' });
  const output = element('input', { id: 'output', type: 'number', min: 0, step: 1 });
  const slider = element('input', { type: 'range', 'aria-label': 'The outlier' });
  const drawing = element('div');
  const line = element('div', { class: 'line' }, drawing, slider);
  const [legend, list] = [element('figcaption'), element('div')];
  const back = element('button', { type: 'button' }, 'Put the outlier back');

  let slide: Slide; // as it is, and with the outlier where the slider is
  let current: Slide;
  const draw = () => {
    const view = look(current, Number(token.value), Number(output.value));
    const outlier = current === slide ? outlierOf(slide).value : Number(slider.value);
    const width = line.clientWidth || 340;
    drawing.innerHTML = numberLine(slide.tokens.length, view, { outlier, reach: reachOf(slide), width });
    list.innerHTML = steps(view);
    slider.setAttribute('aria-valuetext', `${Number(slider.value).toPrecision(3)}: ${said(view)}`);
  };
  const putBack = () => {
    current = slide;
    slider.value = String(outlierOf(slide).value);
    draw();
    legend.textContent = `${caption(slide, Number(token.value))} Drag it, or move it with the arrow keys.`;
  };
  const lay = async () => {
    slide = await slideOf(linear.value);
    const { low, high } = reachOf(slide);
    Object.assign(slider, { min: low, max: high, step: (high - low) / STEPS });
    const last = token.value;
    token.replaceChildren(...slide.tokens.map((text, i) => option(i, `${i} ${text}`)));
    const first = beginning(slide, fp32.noAnswer ? -1 : fp32.start);
    token.value = last || String(first.token);
    output.max = String(slide.bias.length - 1);
    output.value = String(first.output);
    putBack();
  };

  linear.append(...linears.flatMap(({ names }) => names.map((name) => option(name, nameOf(place([name]))))));
  linear.value = worst(linears, 'torch').names[0]!;
  linear.addEventListener('change', () => {
    legend.textContent = 'Running the model up to this linear …';
    lay().catch((error) => {
      legend.textContent = inWords(error).text;
    });
  });
  token.addEventListener('change', putBack);
  output.addEventListener('change', () => {
    output.value = String(Math.min(Number(output.max), Math.max(0, Math.round(Number(output.value)))));
    draw();
  });
  slider.addEventListener('input', () => {
    current = moved(slide, Number(slider.value));
    draw();
  });
  back.addEventListener('click', putBack);
  await lay();
  new ResizeObserver(draw).observe(line);
  return element(
    'section',
    { class: 'microscope', 'aria-labelledby': 'microscope' },
    element('style', {}, STYLE),
    element('h3', { id: 'microscope' }, 'One token through one linear layer'),
    element(
      'div',
      { class: 'fields' },
      field('Linear', linear),
      field('Token', token),
      field('Output feature', output),
    ),
    element('figure', {}, line, legend),
    back,
    list,
  );
}
