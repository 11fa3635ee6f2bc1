"""Rewrites the code deps of every stage: python .py (cwd = worktree)."""
import sys,re
sys.path.insert(0,'tests'); sys.path.insert(0,'.')
import importlib.util
spec=importlib.util.spec_from_file_location('arch','tests/test_architecture.py'); a=importlib.util.module_from_spec(spec); spec.loader.exec_module(a)
import pathlib
FOLDERS=sys.argv[1:] or ['hoiclip/model','hoiclip/set_prediction','hoiclip/training','hoiclip/methods/hoiclip','hoiclip/methods/gen_vlkt','hoiclip/methods/clip_distill','hoiclip/convert','hoiclip/report','hoiclip/evaluation','hoiclip/toy','hoiclip/data/sources','hoiclip/data/readers','hoiclip/formats','hoiclip/clip','hoiclip/layers']
def code(dep): return dep.startswith(('hoiclip/','stages/'))
for path in [pathlib.Path('dvc.yaml'),*pathlib.Path('methods').glob('*/dvc.yaml')]:
    prefix='' if path.parent==pathlib.Path('.') else path.parent.name+'.'
    text=path.read_text(); out=[]; lines=text.split('\n'); stage=None; i=0
    while i<len(lines):
        l=lines[i]
        m=re.match(r'  (\w+):$',l)
        if m: stage=m[1]
        out.append(l); i+=1
        if l=='    deps:':
            deps=[]
            while re.match(r'      - ',lines[i]): deps.append(lines[i][8:]); i+=1
            keep=[d for d in deps if not code(d)]
            data=[d for d in deps if code(d) and not d.endswith('.py') and pathlib.Path(d).is_file()]
            files=a.closure_files(prefix+stage)
            found=set()
            for f in files:
                fold=next((x for x in FOLDERS if f.startswith(x+'/')),None)
                if fold:
                    mods=[p.as_posix() for p in pathlib.Path(fold).rglob('*.py') if p.name!='__init__.py']
                    if all(mm in files for mm in mods): found.add(fold); continue
                found.add(f)
            datafold=[d for d in deps if code(d) and pathlib.Path(d).is_dir() and not any(pathlib.Path(d).rglob('*.py'))]
            found|=set(data)|set(datafold)
            out+=['      - '+d for d in keep+sorted(found)]
    path.write_text('\n'.join(out))
