/** The helper as a launchd daemon, one per user. Written for macOS, not run there yet. */
import { helperArguments, type DefineService } from './definition.ts';

export const defineService: DefineService = (options) => {
  const name = `dev.bowline.helper.${options.uid}`;
  const path = `/Library/LaunchDaemons/${name}.plist`;
  const items = [options.node, ...helperArguments(options)].map((item) => `    <string>${escapeXml(item)}</string>`);
  return {
    name,
    path,
    content: `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>${name}</string>
  <key>ProgramArguments</key>
  <array>
${items.join('\n')}
  </array>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <true/>
</dict>
</plist>
`,
    start: [['launchctl', 'bootstrap', 'system', path]],
    stop: [['launchctl', 'bootout', `system/${name}`]],
    status: ['launchctl', 'print', `system/${name}`],
  };
};

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
